import { describe, expect, test } from "vitest";
import { shownColor } from "../../../src/app/state/colors.ts";
import { amend, commit, redo, undo } from "../../../src/app/state/history.ts";
import { type Entry, MaskBook } from "../../../src/app/state/masks.ts";
import {
  EMPTY_HISTORY,
  EMPTY_SCENE,
  INITIAL,
  NO_PROMPTS,
  type PromptPoint,
  type Prompts,
  type Scene,
} from "../../../src/app/state/model.ts";
import {
  addPicture,
  changeScene,
  currentScene,
  importClasses,
  learnClass,
  removePicture,
  renameClass,
  travel,
} from "../../../src/app/state/pictures.ts";
import {
  addObject,
  changeObject,
  extendsPrompts,
  isPositive,
  keep,
  movedPoint,
  removeObject,
  select,
  withoutPoint,
  withPoint,
} from "../../../src/app/state/scene.ts";
import { Store } from "../../../src/app/state/store.ts";
import type { MaskReply } from "../../../src/client/messages.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";

const point = (x: number, label: 0 | 1 = 1): PromptPoint => [x, 0, label];

describe("history", () => {
  const scenes = [1, 2, 3].map((nextId) => ({ ...EMPTY_SCENE, nextId }));

  test("undo and redo walk the steps", () => {
    const full = scenes.reduce(commit, EMPTY_HISTORY);
    const back = undo(undo(full));
    expect(back.present).toBe(scenes[0]);
    expect(redo(redo(back)).present).toBe(scenes[2]);
    expect(undo(undo(undo(undo(full)))).present).toBe(EMPTY_SCENE);
  });

  test("a new step forgets what was undone; an amendment is no step", () => {
    const back = undo(scenes.reduce(commit, EMPTY_HISTORY));
    expect(commit(back, scenes[0]!).future).toEqual([]);
    const amended = amend(back, scenes[0]!);
    expect(amended.past).toBe(back.past);
    expect(amended.future).toBe(back.future);
  });
});

describe("scene", () => {
  test("objects get ids that are not used again, and colours of their own", () => {
    const two = addObject(addObject(EMPTY_SCENE));
    const three = addObject(removeObject(two, 2));
    expect(three.objects.map(({ id }) => id)).toEqual([1, 3]);
    expect(new Set(three.objects.map(({ color }) => color)).size).toBe(2);
  });

  test("kept, the object is done and none is active", () => {
    const kept = keep(addObject(EMPTY_SCENE));
    expect(kept.active).toBeNull();
    expect(kept.objects[0]!.kept).toBe(true);
    expect(keep(kept)).toBe(kept);
  });

  test("an object that is left for another is done, too", () => {
    const two = addObject(addObject(EMPTY_SCENE));
    expect(two.objects.map(({ kept }) => kept)).toEqual([true, false]);
    const back = select(two, 1);
    expect(back.objects.map(({ kept }) => kept)).toEqual([true, true]);
    expect(select(back, 1)).toBe(back);
  });

  test("only more points on the same beginning extend prompts", () => {
    const one = withPoint(NO_PROMPTS, point(1));
    const two = withPoint(one, point(2, 0));
    expect(extendsPrompts(two, one)).toBe(true);
    expect(extendsPrompts(one, two)).toBe(false);
    expect(extendsPrompts(movedPoint(two, 0, 9, 9), one)).toBe(false);
    expect(extendsPrompts({ ...two, box: [0, 0, 1, 1] }, one)).toBe(false);
  });

  test("exclusion alone says nothing", () => {
    const excluding = withPoint(NO_PROMPTS, point(1, 0));
    expect(isPositive(excluding)).toBe(false);
    expect(isPositive({ ...excluding, box: [0, 0, 5, 5] })).toBe(true);
    expect(isPositive(withoutPoint(withPoint(excluding, point(2)), 0))).toBe(true);
  });
});

describe("pictures", () => {
  const two = addPicture(addPicture(INITIAL, "a", "a.png"), "b", "b.png");

  test("a removed picture gives the stage to its neighbour", () => {
    expect(removePicture({ ...two, current: "a" }, "a").current).toBe("b");
    expect(removePicture({ ...two, current: "b" }, "b").current).toBe("a");
    expect(removePicture({ ...two, current: "a" }, "b").current).toBe("a");
  });

  test("a picture has a name of its own", () => {
    const names = ["image.png", "image.png", "scan", "scan", "image-2.png", "image.png"];
    const state = names.reduce((all, name, at) => addPicture(all, String(at), name), INITIAL);
    expect(state.pictures.map(({ name }) => name)).toEqual([
      ...["image.png", "image-2.png", "scan", "scan-2", "image-2-2.png", "image-3.png"],
    ]);
  });

  test("a mark is let go of with its object or its picture", () => {
    const mark = { point: 0 };
    const state = { ...two, current: "a", mark };
    const drawn = { ...changeScene(state, "commit", addObject), mark };
    const same = (scene: Scene) => ({ ...scene });
    expect(changeScene(drawn, "amend", same).mark).toBe(mark);
    expect(changeScene(drawn, "amend", (scene) => select(scene, null)).mark).toBeNull();
    expect(removePicture(drawn, "a").mark).toBeNull();
    expect(removePicture(drawn, "b").mark).toBe(mark);
  });

  test("a change that changes nothing is no step", () => {
    const state = { ...two, current: "a" };
    expect(changeScene(state, "commit", (scene) => scene)).toBe(state);
    const changed = changeScene(state, "commit", (scene) => addObject(scene));
    expect(currentScene(changed).objects).toHaveLength(1);
    expect(currentScene({ ...changed, current: "b" }).objects).toHaveLength(0);
  });

  test("class names are learnt once, newest last", () => {
    const state = ["cat", "dog", "cat", ""].reduce(learnClass, INITIAL);
    expect(state.classes).toEqual(["cat", "dog"]);
  });
});

describe("a class whose last object gets another name", () => {
  const known = ["cat", "dgo", "cow"].reduce(learnClass, INITIAL);

  test("was a slip of the pen, and gives its place to the new one", () => {
    expect(renameClass(known, "dgo", "dog").classes).toEqual(["cat", "dog", "cow"]);
  });

  test("goes if it was the last of the list, where no number changes by that", () => {
    expect(renameClass(known, "cow", "cat").classes).toEqual(["cat", "dgo"]);
    expect(renameClass(known, "dgo", "cat").classes).toEqual(["cat", "dgo", "cow"]);
  });

  test("has its place again when that is undone, and loses it when it is done again", () => {
    const bears = (scene: Scene) => addObject(scene, { label: "dgo" });
    const drawn = changeScene({ ...addPicture(known, "a", "a"), current: "a" }, "commit", bears);
    const changed = changeScene(drawn, "commit", (scene) =>
      changeObject(scene, scene.objects[0]?.id ?? 0, { label: "dog" }),
    );
    const renamed = renameClass(changed, "dgo", "dog");
    const undone = travel(renamed, undo);
    expect(currentScene(undone).objects[0]?.label).toBe("dgo");
    expect(undone.classes).toEqual(["cat", "dgo", "cow"]);
    expect(travel(undone, redo).classes).toEqual(["cat", "dog", "cow"]);
    expect(travel(travel(undone, undo), redo).classes).toEqual(["cat", "dgo", "cow"]);
  });

  test("stays where anything else bears it, a file brought it, or no name follows", () => {
    const bears = (scene: Scene) => addObject(scene, { label: "dgo" });
    const borne = changeScene({ ...addPicture(known, "a", "a"), current: "a" }, "commit", bears);
    expect(renameClass(borne, "dgo", "dog").classes).toEqual(["cat", "dgo", "cow", "dog"]);
    const imported = importClasses(known, ["dgo", "dgo", "ox"]);
    expect(imported.classes).toEqual(["cat", "dgo", "cow", "ox"]);
    expect(renameClass(imported, "dgo", "dog").classes).toHaveLength(5);
    expect(renameClass(known, "dgo", "")).toBe(known);
  });
});

test("by class, objects of one name share a colour, and those without one are like none", () => {
  const state = { classes: ["cat", "dog"], colors: "class" } as const;
  const shown = (label: string) => shownColor(state, { label, color: "#123456" });
  expect(shown("cat")).toBe(shown("cat"));
  expect(new Set(["cat", "dog", ""].map(shown)).size).toBe(3);
  expect(shownColor({ ...state, colors: "object" }, { label: "cat", color: "#123456" })).toBe(
    "#123456",
  );
});

describe("the mask book", () => {
  const traced = jobs.fill({ width: 4, height: 4 }, [[[0, 0, 2, 0, 2, 2, 0, 2]]]);
  const shape = { traced, score: 0.9 };
  const reply = { type: "mask", id: 7 } as MaskReply;
  const entry = (prompts: Prompts, change: Partial<Entry> = {}): Omit<Entry, "root"> => ({
    ...{ status: "pending", prompts, from: null, shapes: [], reply: null },
    ...change,
  });
  const one = withPoint(NO_PROMPTS, point(1));
  const two = withPoint(one, point(2));

  test("while a mask is awaited the one it comes from is shown", () => {
    const book = new MaskBook();
    const first = book.next(entry(one, { status: "ready", shapes: [shape], reply }));
    const second = book.next(entry(two, { from: { revision: first, chosen: 0 } }));
    expect(book.shown({ revision: second, chosen: 0 })).toBe(shape);
    book.update(second, { status: "ready", shapes: [] });
    expect(book.shown({ revision: second, chosen: 0 })).toBeNull();
  });

  test("only what was answered is known to be empty", () => {
    const book = new MaskBook();
    const revision = book.next(entry(one));
    for (const status of ["pending", "failed", "ready"] as const) {
      book.update(revision, { status });
      expect(book.isEmpty({ revision, chosen: 0 })).toBe(status === "ready");
    }
    book.update(revision, { shapes: [shape] });
    expect(book.isEmpty({ revision, chosen: 0 })).toBe(false);
  });

  test("the server chooses the prior unless another candidate was chosen", () => {
    const book = new MaskBook();
    const shapes = [shape, shape, shape];
    const revision = book.next(entry(one, { status: "ready", shapes, reply }));
    expect(book.priorFor({ revision, chosen: 0 }, two)).toBeUndefined();
    expect(book.priorFor({ revision, chosen: 2 }, two)).toEqual({ mask: reply, candidate: 2 });
    const moved = movedPoint(one, 0, 3, 3);
    expect(book.priorFor({ revision, chosen: 2 }, moved)).toBeUndefined();
  });

  test("an edited mask is the prior of all that follows it", () => {
    const book = new MaskBook();
    const edited = book.next(entry(one, { status: "ready", shapes: [shape] }));
    const from = { revision: edited, chosen: 0 };
    const clicked = book.next(entry(two, { status: "ready", shapes: [shape], reply, from }));
    expect(book.priorFor(from, two)).toBe(traced.rle);
    const three = withPoint(two, point(3));
    expect(book.priorFor({ revision: clicked, chosen: 0 }, three)).toBeUndefined();
    const fewer = withoutPoint(two, 1);
    expect(book.priorFor({ revision: clicked, chosen: 0 }, fewer)).toBe(traced.rle);
  });

  test("what is shown meanwhile and what clicks go back to is kept", () => {
    const book = new MaskBook();
    const edited = book.next(entry(one, { status: "ready", shapes: [shape] }));
    const from = { revision: edited, chosen: 0 };
    const clicked = book.next(entry(two, { status: "ready", shapes: [shape], reply, from }));
    const waiting = book.next(entry(two, { from: { revision: clicked, chosen: 0 } }));
    book.retain([waiting]);
    expect(book.get(clicked)).toBeDefined();
    expect(book.get(edited)).toBeDefined();
  });

  test("what nothing refers to is forgotten", () => {
    const book = new MaskBook();
    const first = book.next(entry(one));
    const second = book.next(entry(two, { from: { revision: first, chosen: 0 } }));
    const other = book.next(entry(one));
    book.retain([second]);
    expect([first, second, other].map((revision) => !!book.get(revision))).toEqual([
      true,
      true,
      false,
    ]);
  });
});

test("a store tells of changes, and only of changes", () => {
  const store = new Store(1);
  const heard: number[] = [];
  const stop = store.subscribe((value) => heard.push(value));
  store.set(1);
  store.update((value) => value + 1);
  stop();
  store.set(5);
  expect(heard).toEqual([2]);
});
