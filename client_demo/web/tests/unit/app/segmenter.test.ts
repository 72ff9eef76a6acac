import { beforeEach, expect, test, vi } from "vitest";
import { imagePoint } from "../../../src/app/geometry/points.ts";
import { addPicture, changePicture } from "../../../src/app/state/pictures.ts";
import { Context } from "../../../src/app/work/context.ts";
import { Latency } from "../../../src/app/work/latency.ts";
import { Notices } from "../../../src/app/work/notices.ts";
import { Segmenter } from "../../../src/app/work/segmenter.ts";
import { MaskWorker, type Rle, type SamwireClient } from "../../../src/client/index.ts";
import type { Question } from "../../../src/client/rle/door.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";
import { toRle } from "../../../src/client/rle/runs.ts";

const SIZE = { width: 60, height: 40 };
const SMALL = jobs.fill(SIZE, [[[4, 4, 9, 4, 9, 9, 4, 9]]]).rle;
const LARGE = toRle({ ...SIZE, lengths: new Uint32Array(2400).fill(1) });

/** A thread that answers when the test says so. */
class HeldThread {
  static asked: (() => void)[] = [];
  onmessage: (event: { data: unknown }) => void = () => {};

  postMessage({ id, args }: Extract<Question, { name: "trace" }>): void {
    HeldThread.asked.push(() => this.onmessage({ data: { id, value: jobs.trace(...args) } }));
  }
}
vi.stubGlobal("Worker", HeldThread);

let context: Context;
let segmenter: Segmenter;
let reply: (rle: Rle) => Promise<void>;

beforeEach(() => {
  HeldThread.asked = [];
  const waiting: ((answer: { rle: Rle }) => void)[] = [];
  const client = {
    state: { status: "online" },
    hover: () => new Promise((resolve) => waiting.push(resolve)),
    cancelHover: () => {},
  } as unknown as SamwireClient;
  context = new Context(client, new MaskWorker(), new Notices(), new Latency());
  context.state.update((state) => {
    const shown = { ...addPicture(state, "a", "a.png"), current: "a" };
    return changePicture(shown, "a", { size: SIZE, status: { kind: "open" } });
  });
  segmenter = new Segmenter(context);
  reply = async (rle) => {
    const hovering = segmenter.hover(imagePoint(5, 5), 1);
    waiting.shift()!({ rle });
    await Promise.race([hovering, vi.waitUntil(() => HeldThread.asked.length > 0)]);
  };
});

const shown = () => context.live.get().hover?.traced.rle;

test("a small preview is shown without a trip to the worker, a large one after it", async () => {
  await reply(SMALL);
  expect(shown()).toBe(SMALL);
  expect(HeldThread.asked).toHaveLength(0);
  await reply(LARGE);
  expect(shown()).toBe(SMALL);
  HeldThread.asked[0]!();
  await expect.poll(shown).toBe(LARGE);
});

test("a preview traced for long does not take the place of a newer one", async () => {
  await reply(LARGE);
  await reply(SMALL);
  await expect.poll(shown).toBe(SMALL);
  HeldThread.asked[0]!();
  await new Promise((resolve) => setTimeout(resolve));
  expect(shown()).toBe(SMALL);
});

test("what was cleared while it was traced is not shown", async () => {
  await reply(LARGE);
  segmenter.clearHover();
  HeldThread.asked[0]!();
  await new Promise((resolve) => setTimeout(resolve));
  expect(shown()).toBeUndefined();
});
