import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { News, Order } from "../../../src/app/export/order.ts";
import { commit } from "../../../src/app/state/history.ts";
import { NO_PROMPTS } from "../../../src/app/state/model.ts";
import { addPicture, changePicture } from "../../../src/app/state/pictures.ts";
import { addObject } from "../../../src/app/state/scene.ts";
import { Actions } from "../../../src/app/work/actions.ts";
import { Context } from "../../../src/app/work/context.ts";
import { Exchange } from "../../../src/app/work/exchange.ts";
import { Latency } from "../../../src/app/work/latency.ts";
import { Notices } from "../../../src/app/work/notices.ts";
import { Segmenter } from "../../../src/app/work/segmenter.ts";
import type { MaskWorker, SamwireClient } from "../../../src/client/index.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";

const SIZE = { width: 4, height: 4 };
const traced = jobs.fill(SIZE, [[[0, 0, 2, 0, 2, 2, 0, 2]]]);
const file = { name: "a.png", bytes: Uint8Array.of(1, 2), type: "image/png" };

/** A thread that says what the test has it say. */
class Thread {
  static all: Thread[] = [];
  onmessage: (event: { data: News }) => void = () => {};
  onerror: (event: { message: string }) => void = () => {};
  order: Order | null = null;
  ended = false;

  constructor() {
    Thread.all.push(this);
  }

  postMessage(order: Order): void {
    this.order = order;
  }

  terminate(): void {
    this.ended = true;
  }

  says(data: News): void {
    this.onmessage({ data });
  }
}

let exchange: Exchange;
let notices: Notices;
let downloaded: string[];

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("Worker", Thread);
  Thread.all = [];
  downloaded = [];
  const link = {
    download: "",
    click() {
      downloaded.push(this.download);
    },
  };
  vi.stubGlobal("document", { createElement: () => ({ ...link }) });
  notices = new Notices();
  const context = new Context({} as SamwireClient, {} as MaskWorker, notices, new Latency());
  context.blobs.set("a", new Blob(["a"]));
  const shapes = [{ traced, score: 0.7 }];
  const entry = { status: "ready", prompts: NO_PROMPTS, from: null, shapes, reply: null } as const;
  context.state.update((state) => {
    const shown = { ...addPicture(state, "a", "a.png"), current: "a" };
    const { history } = shown.pictures[0]!;
    const first = addObject(history.present, { revision: context.book.next(entry) });
    const scene = addObject(first, { revision: context.book.next(entry) });
    return changePicture(shown, "a", { size: SIZE, history: commit(history, scene) });
  });
  exchange = new Exchange(context, new Actions(context, new Segmenter(context)));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a quick export shows no progress, is saved, and ends its thread", async () => {
  const shown: unknown[] = [];
  exchange.progress.subscribe((fraction) => shown.push(fraction));
  const saving = exchange.save("masks");
  await vi.advanceTimersByTimeAsync(10);
  const [thread] = Thread.all;
  expect(thread!.order).toMatchObject({ kind: "masks", subjects: [{ name: "a.png" }] });
  thread!.says({ made: 1 });
  thread!.says({ file });
  await saving;
  expect([shown, downloaded, thread!.ended]).toEqual([[], ["a.png"], true]);
});

test("a slow export says how far it is", async () => {
  const saving = exchange.save("masks");
  await vi.advanceTimersByTimeAsync(2000);
  expect(exchange.progress.get()).toBe(0);
  Thread.all[0]!.says({ made: 1 });
  expect(exchange.progress.get()).toBe(0.5);
  Thread.all[0]!.says({ file });
  await saving;
  expect(exchange.progress.get()).toBeNull();
});

test("the next export waits for the one before it, even if that fails", async () => {
  const saving = [exchange.save("masks"), exchange.save("indexed")];
  await vi.advanceTimersByTimeAsync(10);
  expect(Thread.all.map(({ order }) => order?.kind)).toEqual(["masks"]);
  Thread.all[0]!.says({ failed: "RangeError: Array buffer allocation failed" });
  await vi.advanceTimersByTimeAsync(10);
  expect(notices.list.get().map(({ kind }) => kind)).toEqual(["problem"]);
  expect(Thread.all.map(({ order }) => order?.kind)).toEqual(["masks", "indexed"]);
  Thread.all[1]!.onerror({ message: "the script did not load" });
  await Promise.all(saving);
  expect([downloaded, Thread.all.every(({ ended }) => ended)]).toEqual([[], true]);
});
