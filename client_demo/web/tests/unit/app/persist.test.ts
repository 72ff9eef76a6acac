import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Autosave } from "../../../src/app/persist/autosave.ts";
import {
  type Database,
  openDatabase,
  type StoredPicture,
} from "../../../src/app/persist/database.ts";
import { amend, commit } from "../../../src/app/state/history.ts";
import { type Drawn, NO_PROMPTS } from "../../../src/app/state/model.ts";
import { addPicture, changePicture, removePicture } from "../../../src/app/state/pictures.ts";
import { addObject } from "../../../src/app/state/scene.ts";
import { Context } from "../../../src/app/work/context.ts";
import { Latency } from "../../../src/app/work/latency.ts";
import { Notices } from "../../../src/app/work/notices.ts";
import { Segmenter } from "../../../src/app/work/segmenter.ts";
import type { MaskWorker, SamwireClient } from "../../../src/client/index.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";

// The page's own events, which Node has not.
vi.stubGlobal("addEventListener", () => {});
vi.stubGlobal("document", { addEventListener: () => {} });
const persist = vi.fn(async () => true);
vi.stubGlobal("navigator", { storage: { persist } });

const traced = jobs.fill({ width: 4, height: 4 }, [[[0, 0, 2, 0, 2, 2, 0, 2]]]);
const worker = { run: async (_: "trace", rle: typeof traced.rle) => jobs.trace(rle) };
let database: Database;

function page(workspace = "1") {
  const inPlace = worker as unknown as MaskWorker;
  const context = new Context({} as SamwireClient, inPlace, new Notices(), new Latency());
  const autosave = new Autosave(database, workspace, context);
  return { context, autosave, segmenter: new Segmenter(context) };
}

function draw({ context }: ReturnType<typeof page>, key: string): void {
  context.blobs.set(key, new Blob([key], { type: "image/png" }));
  context.state.update((state) => ({ ...addPicture(state, key, `${key}.png`), current: key }));
  const shapes = [{ traced, score: 0.7 }];
  const entry = { status: "ready", prompts: NO_PROMPTS, from: null, shapes, reply: null } as const;
  const revision = context.book.next(entry);
  const { history } = context.state.get().pictures.at(-1)!;
  const scene = addObject(history.present, { label: "cat", revision });
  const size = { width: 4, height: 4 };
  context.state.update((state) =>
    changePicture(state, key, { history: commit(history, scene), size }),
  );
}

/** The stored picture as something else left it. */
async function tamper(key: string, change: (stored: StoredPicture) => object): Promise<void> {
  const stored = (await database.get("pictures", key))!;
  await database.put("pictures", { ...stored, ...change(stored) });
}

const said = ({ context }: ReturnType<typeof page>) =>
  context.notices.list.get().map(({ text }) => text);

beforeEach(async () => {
  persist.mockClear();
  database = await openDatabase(`test-${Math.random()}`);
});
afterEach(() => database.close());

describe("autosave", () => {
  test("a picture that is dropped while saved work is read stays, after what was saved", async () => {
    const before = page();
    draw(before, "a");
    await before.autosave.flush();

    const after = page();
    const restoring = after.autosave.restore(after.segmenter);
    draw(after, "dropped");
    await restoring;
    const keys = () => after.context.state.get().pictures.map(({ key }) => key);
    expect(keys()).toEqual(["a", "dropped"]);

    await after.autosave.flush();
    const last = page();
    await last.autosave.restore(last.segmenter);
    expect(last.context.state.get().pictures.map(({ key }) => key)).toEqual(["a", "dropped"]);
  });

  test("what is named, numbered and called meanwhile is not lost to what was saved", async () => {
    const before = page();
    draw(before, "a");
    const name = ({ context }: ReturnType<typeof page>, ...names: [string, number][]) =>
      context.state.update((state) => ({
        ...state,
        classes: names.map(([one]) => one),
        imported: [names[0]![0]],
        numbers: new Map(names),
      }));
    name(before, ["cat", 1], ["dog", 2]);
    await before.autosave.flush();

    const after = page();
    const restoring = after.autosave.restore(after.segmenter);
    draw(after, "dropped");
    const { pictures: own } = after.context.state.get();
    after.context.state.update((state) => changePicture(state, own[0]!.key, { name: "a.png" }));
    name(after, ["ox", 3], ["dog", 1]);
    await restoring;
    const { pictures, classes, imported, numbers } = after.context.state.get();
    expect(pictures.map((one) => one.name)).toEqual(["a.png", "a-2.png"]);
    expect([classes, imported]).toEqual([
      ["cat", "dog", "ox"],
      ["cat", "ox"],
    ]);
    expect([...numbers]).toEqual([
      ["cat", 1],
      ["dog", 2],
      ["ox", 3],
    ]);
  });

  test("what was dropped before it started is saved, though nothing else happens", async () => {
    const desk = page();
    draw(desk, "dropped");
    desk.autosave.start();
    await expect.poll(() => database.getAllKeys("pictures")).toEqual(["dropped"]);
  });

  test("a new file is stored at once, however long other changes wait", async () => {
    const desk = page();
    desk.autosave.start();
    await desk.autosave.flush();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const flushed = vi.spyOn(desk.autosave, "flush");
    draw(desk, "a");
    draw(desk, "b");
    vi.advanceTimersByTime(1);
    await Promise.all(flushed.mock.results.map(({ value }) => value));
    expect(await database.getAllKeys("blobs")).toEqual(["a", "b"]);
    desk.context.state.update((state) => ({ ...state, opacity: 0.8 }));
    vi.advanceTimersByTime(1);
    vi.useRealTimers();
    expect(flushed).toHaveBeenCalledTimes(1);
  });

  test("what one page saves the next restores, masks and bytes included", async () => {
    const before = page();
    draw(before, "a");
    draw(before, "b");
    before.context.state.update((state) => ({
      ...state,
      classes: ["cat"],
      numbers: new Map([["cat", 17]]),
      opacity: 0.8,
      colors: "class",
    }));
    await before.autosave.flush();

    const after = page();
    await after.autosave.restore(after.segmenter);
    const { pictures, classes, numbers, ...preferences } = after.context.state.get();
    expect(pictures.map(({ name }) => name)).toEqual(["a.png", "b.png"]);
    expect([classes, numbers]).toEqual([["cat"], new Map([["cat", 17]])]);
    expect(preferences).toMatchObject({ opacity: 0.8, colors: "class" });
    const [object] = pictures[1]!.history.present.objects;
    expect(object).toMatchObject({ label: "cat", id: 1 });
    const shape = after.context.book.shown(object!);
    expect(shape?.traced.exact).toBe(traced.exact);
    expect(shape?.score).toBe(0.7);
    expect(await after.context.blobs.get("b")!.text()).toBe("b");
    expect(await after.autosave.lastShown()).toBe("b");
  });

  test("what a page that is left asks for is asked for at once", async () => {
    const desk = page();
    draw(desk, "a");
    await desk.autosave.flush();
    draw(desk, "b");
    await desk.autosave.flush();
    desk.context.state.update((state) =>
      changePicture(removePicture(state, "a"), "b", { size: { width: 8, height: 8 } }),
    );
    void desk.autosave.flush();
    database.close(); // which what was asked for outlives, and nothing else
    database = await openDatabase(database.name);
    expect(await database.getAll("pictures")).toMatchObject([{ key: "b", size: { width: 8 } }]);
  });

  test("a mask is saved as soon as it is there", async () => {
    const desk = page();
    draw(desk, "a");
    await desk.autosave.flush();
    desk.autosave.start();
    const { history } = desk.context.state.get().pictures[0]!;
    const [object] = history.present.objects;
    desk.context.book.update(object!.revision, { status: "failed", shapes: [] });
    desk.context.masksChanged();
    database.close();
    database = await openDatabase(database.name);
    expect((await database.get("pictures", "a"))!.objects[0]!.shapes).toEqual([]);
  });

  test("what did not change is not written again, nor read", async () => {
    const desk = page();
    draw(desk, "a");
    await desk.autosave.flush();
    const read = vi.spyOn(desk.context.blobs.get("a")!, "arrayBuffer");
    await tamper("a", () => ({ name: "kept.png" }));
    await desk.autosave.flush();
    expect((await database.get("pictures", "a"))!.name).toBe("kept.png");
    expect(read).not.toHaveBeenCalled();
  });

  test("a removed picture is gone, with its bytes", async () => {
    const desk = page();
    draw(desk, "a");
    draw(desk, "b");
    await desk.autosave.flush();
    desk.context.state.update((state) => removePicture(state, "a"));
    await desk.autosave.flush();
    expect(await database.getAllKeys("pictures")).toEqual(["b"]);
    expect(await database.getAllKeys("blobs")).toEqual(["b"]);
  });

  test("workspaces do not see each other", async () => {
    const first = page("1");
    draw(first, "a");
    await first.autosave.flush();
    const second = page("2");
    await second.autosave.restore(second.segmenter);
    expect(second.context.state.get().pictures).toEqual([]);
  });

  test("an object whose mask never came is asked for again", async () => {
    const desk = page();
    draw(desk, "a");
    const { history } = desk.context.state.get().pictures[0]!;
    const prompts = { points: [[1, 1, 1]], box: null } as const;
    const entry = { prompts, from: null, shapes: [], reply: null };
    const revision = desk.context.book.next({ ...entry, status: "pending" });
    const scene = addObject(history.present, { prompts, revision });
    desk.context.state.update((state) =>
      changePicture(state, "a", { history: amend(history, scene) }),
    );
    await desk.autosave.flush();

    const after = page();
    await after.autosave.restore(after.segmenter);
    const object = after.context.state.get().pictures[0]!.history.present.objects[1]!;
    expect(after.context.book.get(object.revision)?.status).toBe("failed");
  });

  test("a file that is gone does not keep the pictures after it from being saved", async () => {
    const desk = page();
    draw(desk, "a");
    draw(desk, "b");
    const missing = () => Promise.reject(new DOMException("", "NotReadableError"));
    desk.context.blobs.get("a")!.arrayBuffer = missing;
    await desk.autosave.flush();
    expect(await database.getAllKeys("pictures")).toEqual(["b"]);
    expect(said(desk)).toEqual(["a.png could not be read. Choose it again."]);
    desk.context.notices.dismiss(1);
    await desk.autosave.flush();
    expect(said(desk)).toEqual([]);
  });

  test("a damaged mask takes nothing else with it", async () => {
    const before = page();
    draw(before, "a");
    draw(before, "b");
    await before.autosave.flush();
    await tamper("a", ({ objects: [object] }) => {
      const damaged = { rle: { size: [4, 4], counts: Uint8Array.of(255) }, score: null };
      const clicked = { points: [[1, 1, 1]], box: null };
      return { objects: [object, { ...object, id: 2, prompts: clicked, shapes: [damaged] }] };
    });

    const after = page();
    await after.autosave.restore(after.segmenter);
    const [a, b] = after.context.state.get().pictures;
    const status = (object?: Drawn) => after.context.book.get(object!.revision)?.status;
    expect(a!.history.present.objects.map(status)).toEqual(["ready", "failed"]);
    expect(b!.history.present.objects.map(status)).toEqual(["ready"]);
    expect(said(after)).toEqual([expect.stringMatching(/could not be read/)]);
  });

  test("masks that merely were not traced are not given up", async () => {
    const before = page();
    draw(before, "a");
    await before.autosave.flush();
    const after = page();
    after.segmenter.shape = () => Promise.reject(new Error("the worker did not load"));
    await expect(after.autosave.restore(after.segmenter)).rejects.toThrow();
    expect(after.context.state.get().pictures).toEqual([]);
  });

  test("an object without any prompt is not asked for", async () => {
    const before = page();
    draw(before, "a");
    await before.autosave.flush();
    await tamper("a", ({ objects }) => ({
      objects: objects.map((object) => ({ ...object, shapes: [] })),
    }));
    const after = page();
    await after.autosave.restore(after.segmenter);
    const [object] = after.context.state.get().pictures[0]!.history.present.objects;
    expect(after.context.book.isEmpty(object!)).toBe(true);
  });

  test("the browser is asked to keep what is saved, once there is an object", async () => {
    const desk = page();
    desk.context.blobs.set("empty", new Blob(["empty"]));
    desk.context.state.update((state) => addPicture(state, "empty", "empty.png"));
    await desk.autosave.flush();
    expect(persist).not.toHaveBeenCalled();
    draw(desk, "a");
    draw(desk, "b");
    await desk.autosave.flush();
    expect(persist).toHaveBeenCalledTimes(1);
  });

  test("a full disk is said, once", async () => {
    const desk = page();
    draw(desk, "a");
    vi.spyOn(database, "put").mockRejectedValue(new DOMException("", "QuotaExceededError"));
    await desk.autosave.flush();
    await desk.autosave.flush();
    expect(desk.context.notices.list.get().map(({ text }) => text)).toEqual([
      expect.stringMatching(/full/),
    ]);
  });
});
