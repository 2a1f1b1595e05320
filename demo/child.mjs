/** What a part of the demo that dies is given by the demo, and how it answers: it is a thread on memory://, a process of its own on a server. */
import { parentPort, workerData } from 'node:worker_threads';

export const { config, options } = workerData ?? JSON.parse(process.argv[2]);
export const tell = (message) => (parentPort ? parentPort.postMessage(message) : process.send(message));
