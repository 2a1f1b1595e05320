/**
 * The child process: holds one contestant of one row, so that its CPU and its memory are its own.
 * It does what the parent asks over IPC, one request at a time, and ends when the parent does.
 *
 * Requests: `open` (which contestant), `sample`, `profile-start`, `profile-stop` (a V8 CPU profile), `close`.
 * Answers: `{ ok: true, value }` or `{ ok: false, message }`.
 */
import { Session } from "node:inspector/promises";
import { findRow } from "../rows/index.mjs";

let contestant;
let profiler;

const acts = {
  async open({ row, contestant: index, context }) {
    contestant = await findRow(row).contestants[index].open(context);
  },
  sample: () => contestant.sample(),
  async "profile-start"() {
    profiler = new Session();
    profiler.connect();
    await profiler.post("Profiler.enable");
    await profiler.post("Profiler.start");
  },
  async "profile-stop"() {
    const { profile } = await profiler.post("Profiler.stop");
    profiler.disconnect();
    return profile;
  },
  close: () => contestant?.close(),
};

process.on("disconnect", () => process.exit());
process.on("message", async ({ act, ...request }) => {
  try {
    process.send({ ok: true, value: await acts[act](request) });
  } catch (error) {
    process.send({ ok: false, message: error?.message ?? String(error) });
  }
});
