/** The parent's handle on a child process that holds one contestant; see `worker.mjs`. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const WORKER = fileURLToPath(new URL("worker.mjs", import.meta.url));
const ANSWER_LIMIT_MS = 120_000;
const CLOSE_LIMIT_MS = 5_000;

export class Child {
  #process;

  /** `nodeOptions` are further command line options of the child's Node. */
  constructor(nodeOptions = []) {
    this.#process = fork(WORKER, { execArgv: ["--expose-gc", ...nodeOptions] });
  }

  get pid() {
    return this.#process.pid;
  }

  /** Resolves with the answer's value; rejects if the act failed, the child ended, or no answer came in time. */
  ask(act, request = {}, limitMs = ANSWER_LIMIT_MS) {
    return new Promise((resolve, reject) => {
      const settle = (finish, value) => {
        clearTimeout(timer);
        this.#process.off("message", onMessage);
        this.#process.off("exit", onExit);
        finish(value);
      };
      const onMessage = (answer) =>
        answer.ok ? settle(resolve, answer.value) : settle(reject, new Error(answer.message));
      const onExit = (code, signal) =>
        settle(reject, new Error(`the child process ended during ${act} (${signal ?? `code ${code}`})`));
      const timer = setTimeout(() => {
        this.#process.kill("SIGKILL");
        settle(reject, new Error(`no answer to ${act} within ${limitMs} ms`));
      }, limitMs);
      this.#process.on("message", onMessage);
      this.#process.on("exit", onExit);
      if (this.#process.exitCode !== null || this.#process.signalCode !== null || !this.#process.connected) {
        settle(reject, new Error("the child process has ended"));
      } else {
        this.#process.send({ act, ...request });
      }
    });
  }

  /** Closes the client, then ends the process, by force if it does not end by itself. */
  async end() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    await this.ask("close", {}, CLOSE_LIMIT_MS).catch(() => {});
    this.#process.kill("SIGKILL");
    await ended;
  }
}
