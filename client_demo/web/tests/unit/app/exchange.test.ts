import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { News, Order } from "../../../src/app/export/order.ts";
import { commit, undo } from "../../../src/app/state/history.ts";
import { EMPTY_SCENE, NO_PROMPTS } from "../../../src/app/state/model.ts";
import { addPicture, changePicture, changeScene, travel } from "../../../src/app/state/pictures.ts";
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
  onerror: (event: { message?: string }) => void = () => {};
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
let actions: Actions;
let context: Context;
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
  const run = async (name: keyof typeof jobs, ...args: never[]) =>
    (jobs[name] as (...args: never[]) => unknown)(...args);
  const worker = { run } as unknown as MaskWorker;
  context = new Context({} as SamwireClient, worker, notices, new Latency());
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
  actions = new Actions(context, new Segmenter(context));
  exchange = new Exchange(context, actions);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const said = () => notices.list.get().map(({ text }) => text);

/** One more picture, which was not looked at yet. */
function add(key: string, name: string): void {
  context.blobs.set(key, new Blob([key]));
  context.state.update((state) => addPicture(state, key, name));
}

/** Annotations as a file: of each picture one object, `size` that of all of them. */
function coco(names: readonly string[], size = SIZE, mask = size): File {
  const images = names.map((file_name, id) => ({ id, file_name, ...size }));
  const counts = [0, mask.width * mask.height];
  const annotations = images.map(({ id }) => ({
    ...{ image_id: id, category_id: 1 },
    segmentation: { size: [mask.height, mask.width], counts },
  }));
  const categories = [{ id: 1, name: "cat" }];
  return new File([JSON.stringify({ images, annotations, categories })], "coco.json");
}

function labels(): Record<string, string[]> {
  const { pictures } = context.state.get();
  const named = pictures.map(({ name, history }) => [
    name,
    history.present.objects.map(({ label }) => label),
  ]);
  return Object.fromEntries(named);
}

describe("an import", () => {
  beforeEach(() => {
    vi.stubGlobal("createImageBitmap", async () => ({ ...SIZE, close: () => {} }));
  });

  test("reaches pictures that were not looked at yet, and says what it did", async () => {
    add("b", "b.png");
    await exchange.load(coco(["a.png", "sub/b.png", "c.png"]));
    expect(labels()).toEqual({ "a.png": ["", "", "cat"], "b.png": ["cat"] });
    expect(said()).toEqual(["Imported 2 objects into 2 pictures. 1 file name not found here."]);
  });

  test("tells pictures of one stem apart, and takes a converted one for itself", async () => {
    add("jpg", "a.jpg");
    add("b", "b.webp");
    await exchange.load(coco(["a.jpg", "b.png"]));
    expect(labels()).toEqual({ "a.png": ["", ""], "a.jpg": ["cat"], "b.webp": ["cat"] });
  });

  test.each([
    ["a picture", { width: 5, height: 4 }, undefined],
    ["a mask", SIZE, { width: 8, height: 2 }],
  ])("of %s of another size changes nothing", async (_, size, mask) => {
    add("b", "b.png");
    await exchange.load(coco(["b.png", "a.png"], size, mask));
    expect(labels()).toEqual({ "a.png": ["", ""], "b.png": [] });
    expect(said()).toEqual([expect.stringMatching(/of another size/)]);
  });

  test("of the same file again adds nothing, and says so", async () => {
    add("b", "b.png");
    await exchange.load(coco(["a.png"]));
    await exchange.load(coco(["a.png", "b.png"]));
    await exchange.load(coco(["a.png", "b.png"]));
    expect(labels()).toEqual({ "a.png": ["", "", "cat"], "b.png": ["cat"] });
    expect(said().slice(1)).toEqual([
      "Imported 1 object into 1 picture. 1 was here already.",
      "Nothing new: 2 were here already.",
    ]);
  });

  test("of one file twice at once adds its objects once", async () => {
    await Promise.all([exchange.load(coco(["a.png"])), exchange.load(coco(["a.png"]))]);
    expect(labels()).toEqual({ "a.png": ["", "", "cat"] });
  });

  test("takes over other names for the masks that are here, and says so", async () => {
    const as = async (name: string) => {
      const renamed = (await coco(["a.png"]).text()).replaceAll('"cat"', `"${name}"`);
      await exchange.load(new File([renamed], "coco.json"));
    };
    for (const name of ["cat", "dog", "object", "dog"]) await as(name);
    expect(labels()).toEqual({ "a.png": ["", "", "dog"] });
    expect(said()).toEqual([
      "Imported 1 object into 1 picture.",
      "Renamed 1 object as in the file.",
      "Nothing new: 1 was here already.",
    ]);
    expect(context.state.get().classes).toEqual(["cat", "dog"]);
    context.state.update((state) => travel(state, undo));
    expect(labels()).toEqual({ "a.png": ["", "", "cat"] });
  });

  test("of one mask under two names keeps both", async () => {
    const content = JSON.parse(await coco(["a.png"]).text());
    const [cat] = content.annotations;
    const categories = [...content.categories, { id: 2, name: "pet" }];
    const annotations = [cat, { ...cat, category_id: 2 }];
    const both = () =>
      new File([JSON.stringify({ ...content, annotations, categories })], "c.json");
    await exchange.load(both());
    await exchange.load(both());
    expect(labels()).toEqual({ "a.png": ["", "", "cat", "pet"] });
  });

  test.each([
    ["empty", []],
    ["a ring of no points", [[]]],
    ["not there", undefined],
    ["null", null],
    ["a mask of nothing", { size: [4, 4], counts: [16] }],
  ])("leaves out what has no mask, and says so: %s", async (_, segmentation) => {
    const content = JSON.parse(await coco(["a.png"]).text());
    const box = { image_id: 0, category_id: 1, segmentation, bbox: [0, 0, 2, 2] };
    const load = (annotations: unknown[]) =>
      exchange.load(new File([JSON.stringify({ ...content, annotations })], "coco.json"));
    await load([box]);
    await load([...content.annotations, box, box]);
    expect(labels()).toEqual({ "a.png": ["", "", "cat"] });
    expect(said()).toEqual([
      "Nothing imported. Left out 1 annotation without a mask.",
      "Imported 1 object into 1 picture. Left out 2 annotations without a mask.",
    ]);
  });

  test("of a file that is gone says so", async () => {
    const file = coco(["a.png"]);
    file.arrayBuffer = () => Promise.reject(new DOMException("", "NotFoundError"));
    await exchange.load(file);
    expect(said()).toEqual(["coco.json could not be read. Choose it again."]);
  });

  test("that is of no picture here names one", async () => {
    await exchange.load(coco(["x.png"]));
    expect(said()).toEqual(["Open x.png first, then import the file again."]);
  });
});

describe("what an export lacks is said:", () => {
  function wait(): void {
    const entry = { status: "pending", prompts: NO_PROMPTS, from: null, shapes: [], reply: null };
    const revision = context.book.next(entry as never);
    context.state.update((state) =>
      changeScene(state, "commit", (scene) => addObject(scene, { revision })),
    );
  }

  test("objects that wait for their mask", async () => {
    wait();
    const saving = exchange.save("masks");
    await vi.advanceTimersByTimeAsync(10);
    Thread.all[0]!.says({ file, skipped: [] });
    await saving;
    expect(said()).toEqual([
      "Saved a.png. 1 object still waits for its mask. Look at its picture, then export again.",
    ]);
  });

  test("that there is nothing else", async () => {
    context.state.update((state) => changeScene(state, "commit", () => EMPTY_SCENE));
    wait();
    wait();
    await exchange.save("masks");
    expect(said()).toEqual([expect.stringMatching(/^There is nothing .* 2 objects still wait/)]);
  });

  test("pictures that were skipped", async () => {
    const saving = exchange.save("cutouts");
    await vi.advanceTimersByTimeAsync(10);
    Thread.all[0]!.says({ file, skipped: ["scan.tif"] });
    await saving;
    expect(said()).toEqual(["Saved a.png. Without scan.tif, which this browser cannot show."]);
  });

  test("why there is none", async () => {
    const saving = exchange.save("indexed");
    await vi.advanceTimersByTimeAsync(10);
    Thread.all[0]!.says({ refused: "Too many objects." });
    await saving;
    expect([said(), downloaded]).toEqual([["Too many objects."], []]);
  });

  test("that its thread did not start", async () => {
    const saving = exchange.save("masks");
    await vi.advanceTimersByTimeAsync(10);
    Thread.all[0]!.onerror({});
    await saving;
    expect(said()).toEqual([expect.stringMatching(/^This browser could not start the export\./)]);
  });
});

describe("a category's number", () => {
  /** The numbers in a COCO file made now. */
  async function numbers(): Promise<Record<string, number>> {
    const saving = exchange.save("coco");
    await vi.advanceTimersByTimeAsync(10);
    const thread = Thread.all.at(-1)!;
    thread.says({ file, skipped: [] });
    await saving;
    return Object.fromEntries(thread.order!.categories.map(({ id, name }) => [name, id]));
  }
  const name = (id: number, label: string) => actions.name(id, label);

  test("is its own from the first file on, whatever is named, renamed or dropped later", async () => {
    name(1, "cat");
    expect(await numbers()).toEqual({ cat: 1, object: 2 });
    name(2, "dog");
    expect(await numbers()).toEqual({ cat: 1, dog: 3 });
    name(2, "cat");
    name(1, "cow");
    expect(await numbers()).toEqual({ cat: 1, cow: 4 });
    name(2, "dog");
    expect(await numbers()).toMatchObject({ dog: 3, cow: 4 });
  });

  test("is not used up by a name that was in no file", async () => {
    for (const slip of ["c", "ca", "cat"]) name(1, slip);
    expect(await numbers()).toMatchObject({ cat: 1 });
  });

  test("is that of the file it came in, unless that means something else here", async () => {
    vi.stubGlobal("createImageBitmap", async () => ({ ...SIZE, close: () => {} }));
    const from = async (id: number, label: string) => {
      const content = JSON.parse(await coco(["a.png"]).text());
      content.categories = [{ id, name: label }];
      content.annotations[0].category_id = id;
      await exchange.load(new File([JSON.stringify(content)], "coco.json"));
    };
    name(1, "dog");
    await from(17, "cat");
    expect(await numbers()).toEqual({ dog: 18, object: 19, cat: 17 });
    await from(18, "cow");
    expect(await numbers()).toMatchObject({ dog: 18, cow: 20 });
    // After this one there is none that a reader of JSON can tell from it.
    await from(Number.MAX_SAFE_INTEGER, "ox");
    expect(await numbers()).toMatchObject({ dog: 18, cow: 20, ox: 21 });
  });
});

test("a quick export shows no progress, is saved, and ends its thread", async () => {
  const shown: unknown[] = [];
  exchange.progress.subscribe((fraction) => shown.push(fraction));
  const saving = exchange.save("masks");
  await vi.advanceTimersByTimeAsync(10);
  const [thread] = Thread.all;
  expect(thread!.order).toMatchObject({ kind: "masks", subjects: [{ name: "a.png" }] });
  thread!.says({ made: 1 });
  thread!.says({ file, skipped: [] });
  await saving;
  expect([shown, downloaded, thread!.ended]).toEqual([[], ["a.png"], true]);
});

test("a slow export says how far it is", async () => {
  const saving = exchange.save("masks");
  await vi.advanceTimersByTimeAsync(2000);
  expect(exchange.progress.get()).toBe(0);
  Thread.all[0]!.says({ made: 1 });
  expect(exchange.progress.get()).toBe(0.5);
  Thread.all[0]!.says({ file, skipped: [] });
  await saving;
  expect(exchange.progress.get()).toBeNull();
});

test("a slow export can be cancelled: its thread ends, and nothing is saved or said", async () => {
  const saving = exchange.save("cutouts");
  const next = exchange.save("masks");
  await vi.advanceTimersByTimeAsync(2000);
  exchange.cancel();
  await saving;
  expect([downloaded, said(), Thread.all[0]!.ended]).toEqual([[], [], true]);
  expect(exchange.progress.get()).toBeNull();
  await vi.advanceTimersByTimeAsync(10);
  Thread.all[1]!.says({ file, skipped: [] });
  await next;
  expect(downloaded).toEqual(["a.png"]);
});

test("the next export waits for the one before it, even if that fails", async () => {
  const saving = [exchange.save("masks"), exchange.save("indexed")];
  await vi.advanceTimersByTimeAsync(10);
  expect(Thread.all.map(({ order }) => order?.kind)).toEqual(["masks"]);
  Thread.all[0]!.says({ failed: "RangeError: Array buffer allocation failed" });
  await vi.advanceTimersByTimeAsync(10);
  expect(notices.list.get().map(({ kind }) => kind)).toEqual(["problem"]);
  expect(Thread.all.map(({ order }) => order?.kind)).toEqual(["masks", "indexed"]);
  Thread.all[1]!.onerror({ message: "out of memory" });
  await Promise.all(saving);
  expect([downloaded, Thread.all.every(({ ended }) => ended)]).toEqual([[], true]);
});
