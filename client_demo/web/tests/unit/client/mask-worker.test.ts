import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Question } from "../../../src/client/rle/door.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";
import { MaskWorker } from "../../../src/client/rle/mask-worker.ts";

const { rle } = jobs.fill({ width: 4, height: 4 }, [[[0, 0, 2, 0, 2, 2, 0, 2]]]);

/** A thread that breaks or answers when the test says so. */
class Thread {
  static all: Thread[] = [];
  onmessage: (event: { data: unknown }) => void = () => {};
  onerror: (event: { message: string }) => void = () => {};
  asked: Question[] = [];
  ended = false;

  constructor() {
    Thread.all.push(this);
  }

  postMessage(question: Question): void {
    this.asked.push(question);
  }

  terminate(): void {
    this.ended = true;
  }
}

beforeEach(() => {
  Thread.all = [];
  vi.stubGlobal("Worker", Thread);
});
afterEach(() => void vi.unstubAllGlobals());

test("a thread that breaks answers all who wait, and the next job has a new one", async () => {
  const worker = new MaskWorker();
  const jobsAsked = [worker.run("trace", rle), worker.run("trace", rle)];
  Thread.all[0]!.onerror({ message: "did not load" });
  for (const job of jobsAsked) await expect(job).rejects.toThrow("did not load");
  expect([Thread.all.length, Thread.all[0]!.ended]).toEqual([1, true]);

  const again = worker.run("trace", rle);
  const [, fresh] = Thread.all;
  fresh!.onmessage({ data: { id: fresh!.asked[0]!.id, value: jobs.trace(rle) } });
  expect((await again).area).toBe(4);
});
