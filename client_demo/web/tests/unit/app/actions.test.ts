import { beforeEach, describe, expect, test, vi } from "vitest";
import { imagePoint } from "../../../src/app/geometry/points.ts";
import { addPicture, changePicture, currentScene } from "../../../src/app/state/pictures.ts";
import { Actions } from "../../../src/app/work/actions.ts";
import { Brush } from "../../../src/app/work/brush.ts";
import { Context } from "../../../src/app/work/context.ts";
import { Latency } from "../../../src/app/work/latency.ts";
import { Notices } from "../../../src/app/work/notices.ts";
import { Segmenter } from "../../../src/app/work/segmenter.ts";
import type {
  MaskReply,
  MaskWorker,
  SamwireClient,
  SegmentRequest,
  Welcome,
} from "../../../src/client/index.ts";
import { jobs } from "../../../src/client/rle/jobs.ts";

vi.stubGlobal("navigator", { userAgent: "Linux" });

const SIZE = { width: 20, height: 20 };
const corner = jobs.fill(SIZE, [[[0, 0, 4, 0, 4, 4, 0, 4]]]);

let context: Context;
let actions: Actions;
let brush: Brush;
/** Clicks that wait for the server's answer. */
let asked: { request: SegmentRequest; answer: (error?: Error) => void }[];
/** Jobs that wait for the thread: run when the test says so. */
let held: (() => void)[] | null;

beforeEach(() => {
  [asked, held] = [[], null];
  const client = {
    state: { status: "online" },
    welcome: { features: [], limits: { max_points: 3 } } as unknown as Welcome,
    cancelHover: () => {},
    segment: (request: SegmentRequest) =>
      new Promise((resolve, reject) => {
        const reply = { type: "mask", rle: corner.rle, score: 0.9 } as MaskReply;
        asked.push({ request, answer: (error) => (error ? reject(error) : resolve(reply)) });
      }),
  } as unknown as SamwireClient;
  const run = async (name: keyof typeof jobs, ...args: never[]) => {
    if (held) await new Promise<void>((resolve) => held!.push(resolve));
    return (jobs[name] as (...args: never[]) => unknown)(...args);
  };
  context = new Context(client, { run } as unknown as MaskWorker, new Notices(), new Latency());
  context.state.update((state) => {
    const two = addPicture(addPicture(state, "a", "a.png"), "b", "b.png");
    const open = { size: SIZE, status: { kind: "open" } } as const;
    const sized = changePicture(changePicture(two, "a", open), "b", open);
    return { ...sized, current: "a", classes: ["cat", "dog"], brushRadius: 2 };
  });
  actions = new Actions(context, new Segmenter(context));
  brush = new Brush(context, actions);
});

const scene = () => currentScene(context.state.get());
const labels = () => scene().objects.map(({ label }) => label);
const notices = () => context.notices.list.get().map(({ text }) => text);
const at = (x: number, y: number) => imagePoint(x, y);

/** An object with a mask, kept or being worked on. */
function click(x: number, y: number): void {
  actions.addPoint(at(x, y), 1);
  const { revision } = scene().objects.at(-1)!;
  const shapes = [{ traced: corner, score: 0.9 }];
  context.book.update(revision, { status: "ready", shapes });
}

function area(id: number): number | undefined {
  return context.book.shown(scene().objects.find((one) => one.id === id)!)?.traced.area;
}

describe("keeping", () => {
  test("an object whose mask is on its way keeps its place and its name", async () => {
    actions.addPoint(at(1, 1), 1);
    actions.name(1, "cat");
    actions.keep();
    expect(labels()).toEqual(["cat"]);
    asked[0]!.answer();
    await expect.poll(() => area(1)).toBe(corner.area);
  });

  test("an object whose mask failed is kept, to be asked for again", async () => {
    actions.addPoint(at(1, 1), 1);
    asked[0]!.answer(new Error("lost"));
    await expect.poll(() => context.book.get(scene().objects[0]!.revision)?.status).toBe("failed");
    actions.keep();
    expect(scene()).toMatchObject({ objects: [{ kept: true }], active: null });
  });

  test("an object that is known to be empty goes", () => {
    actions.addPoint(at(1, 1), 1);
    actions.removeMark({ point: 0 });
    actions.keep();
    expect(scene().objects).toEqual([]);
  });
});

describe("naming", () => {
  test("a digit names the object just kept, and asks for one when that is not clear", () => {
    click(1, 1);
    actions.keep();
    actions.nameByNumber(0);
    expect(labels()).toEqual(["cat"]);
    actions.remove(1);
    click(2, 2);
    actions.select(2);
    actions.select(null);
    actions.nameByNumber(1);
    expect([labels(), notices()]).toEqual([[""], ["Select an object first."]]);
  });

  test("a name to be typed is for the object just kept, and asks for one when that is not clear", () => {
    click(1, 1);
    actions.keep();
    actions.takeUp();
    expect(scene().active).toBe(1);
    actions.select(null);
    actions.takeUp();
    expect([scene().active, notices()]).toEqual([null, ["Select an object first."]]);
  });

  test("a digit names nothing on a picture where nothing was kept", () => {
    click(1, 1);
    actions.keep();
    context.state.update((state) => ({ ...state, current: "b" }));
    actions.adopt("b", [{ shape: { traced: corner, score: null }, label: "" }]);
    actions.nameByNumber(0);
    expect(labels()).toEqual([""]);
  });

  test("a typo that is mended is forgotten", () => {
    click(1, 1);
    actions.name(1, "brid");
    actions.name(1, "bird");
    expect(context.state.get().classes).toEqual(["cat", "dog", "bird"]);
  });

  test("a wrong digit, mended by another or by Undo, costs no name", () => {
    click(1, 1);
    actions.nameByNumber(1);
    actions.keep();
    actions.nameByNumber(0);
    expect(context.state.get().classes).toEqual(["cat", "dog"]);
    actions.nameByNumber(1);
    actions.undo();
    actions.redo();
    actions.nameByNumber(1);
    expect([labels(), context.state.get().classes]).toEqual([["dog"], ["cat", "dog"]]);
    actions.undo();
    expect(labels()).toEqual(["cat"]);
  });

  test("what was typed over the last name of the list keeps its place when that is undone", () => {
    click(1, 1);
    actions.name(1, "dog");
    actions.name(1, "cat");
    expect(context.state.get().classes).toEqual(["cat"]);
    actions.undo();
    expect([labels(), context.state.get().classes]).toEqual([["dog"], ["cat", "dog"]]);
    actions.redo();
    expect([labels(), context.state.get().classes]).toEqual([["cat"], ["cat"]]);
    actions.undo();
    expect([labels(), context.state.get().classes]).toEqual([["dog"], ["cat", "dog"]]);
  });

  test("the same name again is no step: one Undo takes it back", () => {
    click(1, 1);
    actions.name(1, "cat");
    actions.name(1, " cat ");
    actions.undo();
    expect(labels()).toEqual([""]);
  });
});

describe("a dead end is said:", () => {
  test("a digit without a name", () => {
    click(1, 1);
    actions.nameByNumber(4);
    expect(notices()).toEqual(["There is no 5th name yet."]);
  });

  test("an object that only excludes", () => {
    actions.addPoint(at(1, 1), 1);
    actions.addPoint(at(2, 2), 0);
    actions.removeMark({ point: 0 });
    expect(notices()).toEqual([expect.stringMatching(/excluding alone selects nothing/)]);
  });

  test("an object of which no prompt is left says it by itself", () => {
    actions.addPoint(at(1, 1), 1);
    actions.removeMark({ point: 0 });
    expect(notices()).toEqual([]);
  });

  test("dropped, if it was more than a click", () => {
    click(1, 1);
    actions.escape();
    expect(notices()).toEqual([]);
    click(1, 1);
    actions.name(2, "cat");
    actions.escape();
    expect([labels(), notices()]).toEqual([[], ["Dropped. Ctrl Z brings it back."]]);
  });

  test("dropped, if it was painted", async () => {
    await brush.finish([5, 5], "union");
    actions.escape();
    expect([labels(), notices()]).toEqual([[], ["Dropped. Ctrl Z brings it back."]]);
  });

  test("a click on a finished object, once", () => {
    click(1, 1);
    click(2, 2); // which refines it
    expect(notices()).toEqual([]);
    actions.keep();
    click(3, 3);
    expect([scene().objects.length, notices()]).toEqual([2, [expect.stringMatching(/select it/)]]);
    context.notices.dismiss(1);
    actions.keep();
    click(3, 3);
    expect(notices()).toEqual([]);
  });
});

describe("another object", () => {
  test("leaves no mark selected, and what was begun stays", () => {
    click(1, 1);
    actions.keep();
    click(2, 2);
    actions.selectMark({ point: 0 });
    actions.select(1);
    expect(context.state.get().mark).toBeNull();
    actions.select(2);
    actions.escape();
    expect(scene()).toMatchObject({ objects: [{ id: 1 }, { id: 2 }], active: null });
  });

  test("that is imported leaves what was begun, too", () => {
    click(1, 1);
    actions.selectMark({ point: 0 });
    actions.adopt("a", [{ shape: { traced: corner, score: null }, label: "" }]);
    expect(scene().objects[0]).toMatchObject({ id: 1, kept: true });
    expect(context.state.get().mark).toBeNull();
  });

  test("under the pointer is the one whose mask is there", () => {
    click(1, 1);
    actions.keep();
    expect(actions.objectAt(at(3.9, 3.9))?.id).toBe(1);
    expect(actions.objectAt(at(4.1, 3))).toBeNull();
  });
});

test("points end where the server says", () => {
  for (const x of [1, 2, 3, 4]) actions.addPoint(at(x, 1), 1);
  expect(scene().objects[0]!.prompts.points).toHaveLength(3);
  expect(notices()).toEqual([expect.stringMatching(/all the points/)]);
});

describe("brush strokes", () => {
  const stroke = (x: number, y: number) => brush.finish([x, y], "union");
  const alone = () => jobs.stroke(SIZE, null, [5, 5], 2, "union").area;

  test("that follow fast are one object, with all of them in it", async () => {
    await Promise.all([stroke(5, 5), stroke(15, 5), stroke(5, 15)]);
    expect(scene().objects).toHaveLength(1);
    expect(area(1)).toBe(3 * alone());
  });

  test("reach the object they were drawn on, kept meanwhile or not", async () => {
    click(1, 1);
    const painting = [stroke(10, 10), stroke(15, 15)];
    actions.keep();
    await Promise.all(painting);
    expect(scene().objects).toHaveLength(1);
    expect(area(1)).toBe(corner.area + 2 * alone());
  });

  test("are dropped with the picture they were drawn on", async () => {
    held = [];
    const painting = stroke(5, 5);
    await expect.poll(() => held!.length).toBe(1);
    context.state.update((state) => ({ ...state, current: "b" }));
    held[0]!();
    await painting;
    expect(context.state.get().pictures.map(({ history }) => history.present.objects)).toEqual([
      [],
      [],
    ]);
  });

  test("that erase while nothing is selected take from what they begin on", async () => {
    click(1, 1);
    actions.keep();
    await brush.finish([3.5, 3.5], "subtract");
    expect(area(1)).toBeLessThan(corner.area);
    expect(scene()).toMatchObject({ active: null, objects: [{ id: 1 }] });
    await brush.finish([15, 15, 1, 1], "subtract");
    expect(notices()).toEqual(["Select an object first, then erase from it."]);
  });

  test("of an object removed meanwhile go with it", async () => {
    held = [];
    click(1, 1);
    const painting = stroke(10, 10);
    await expect.poll(() => held!.length).toBe(1);
    actions.remove(1);
    held[0]!();
    await painting;
    expect(scene().objects).toEqual([]);
  });

  test("that fail say so, and the next one is painted", async () => {
    context.worker.run = () => Promise.reject(new Error("no memory"));
    brush.preview([5, 5], "union");
    await stroke(5, 5);
    expect(notices()).toHaveLength(1);
    context.worker.run = (async () => corner) as MaskWorker["run"];
    await stroke(5, 5);
    expect(area(1)).toBe(corner.area);
  });
});
