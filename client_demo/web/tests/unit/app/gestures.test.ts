import { describe, expect, test } from "vitest";
import { canvasPoint } from "../../../src/app/geometry/points.ts";
import { type GestureEvent, Gestures, type Intent } from "../../../src/app/input/gestures.ts";
import type { Tool } from "../../../src/app/state/model.ts";

type Down = Extract<GestureEvent, { type: "down" }>;

class Hand {
  readonly gestures: Gestures;
  readonly intents: Intent[] = [];

  constructor(tool: Tool = "segment") {
    this.gestures = new Gestures(() => tool);
  }

  down(x: number, y: number, more: Partial<Down> = {}): this {
    const base = { button: 0, touch: false, alt: false, space: false, id: 1 };
    return this.feed({ type: "down", at: canvasPoint(x, y), ...base, ...more });
  }

  move(x: number, y: number, id = 1): this {
    return this.feed({ type: "move", id, at: canvasPoint(x, y), alt: false });
  }

  up(x: number, y: number, id = 1): this {
    return this.feed({ type: "up", id, at: canvasPoint(x, y) });
  }

  feed(event: GestureEvent): this {
    this.intents.push(...this.gestures.feed(event));
    return this;
  }

  get did(): Intent["do"][] {
    return this.intents.map((intent) => intent.do);
  }
}

describe("with the mouse", () => {
  test("a click includes, a right click and an Alt-click exclude", () => {
    const labels = [{}, { button: 2 }, { alt: true }].map((more) => {
      const [tap] = new Hand().down(5, 5, more).up(6, 5).intents;
      return tap?.do === "tap" && tap.label;
    });
    expect(labels).toEqual([1, 0, 0]);
  });

  test("a tremor is no drag", () => {
    expect(new Hand().down(5, 5).move(7, 7).up(7, 7).did).toEqual(["tap"]);
  });

  test("a drag is a box from where it began", () => {
    const { intents } = new Hand().down(5, 5).move(50, 40).up(60, 45);
    expect(intents.map((intent) => intent.do)).toEqual(["box", "boxEnd"]);
    expect(intents[1]).toMatchObject({ from: { x: 5, y: 5 }, to: { x: 60, y: 45 } });
  });

  test.each([
    ["space", { space: true }, "segment"],
    ["the middle button", { button: 1 }, "segment"],
    ["the hand", {}, "hand"],
  ] as const)("%s pans", (_, more, tool) => {
    const { intents } = new Hand(tool).down(5, 5, more).move(15, 25).up(15, 25);
    expect(intents).toEqual([{ do: "pan", dx: 10, dy: 20 }]);
  });

  test("the right button pans once it moves", () => {
    expect(new Hand().down(5, 5, { button: 2 }).move(30, 5).up(30, 5).did).toEqual(["pan"]);
  });

  test("no button hovers", () => {
    expect(new Hand().move(5, 5).did).toEqual(["hover"]);
  });

  test("with the select tool a click selects", () => {
    expect(new Hand("select").down(5, 5).up(5, 5).did).toEqual(["select"]);
  });
});

describe("brushing", () => {
  test("a stroke begins at once and ends where it is let go", () => {
    const { intents } = new Hand("brush").down(5, 5).move(9, 9).up(9, 9);
    expect(intents.map((intent) => intent.do)).toEqual(["stroke", "stroke", "strokeEnd"]);
    expect(intents[0]).toMatchObject({ erase: false });
  });

  test.each([
    ["the eraser erases", "eraser", {}, true],
    ["Alt turns the brush round", "brush", { alt: true }, true],
    ["Alt turns the eraser round", "eraser", { alt: true }, false],
    ["a pen's other end erases with any tool", "segment", { button: 5 }, true],
  ] as const)("%s", (_, tool, more, erase) => {
    expect(new Hand(tool).down(5, 5, more).intents[0]).toMatchObject({ do: "stroke", erase });
  });
});

describe("with fingers", () => {
  const touch = { touch: true };

  test("a held finger excludes once, and letting go adds nothing", () => {
    const hand = new Hand().down(5, 5, touch).feed({ type: "hold" }).up(5, 5);
    expect(hand.intents).toEqual([{ do: "tap", at: { x: 5, y: 5 }, label: 0 }]);
  });

  test("a finger or a pen may tremble more than a mouse", () => {
    expect(new Hand().down(5, 5, touch).move(11, 11).up(11, 11).did).toEqual(["tap"]);
    expect(new Hand().down(5, 5).move(11, 11).up(11, 11).did).toEqual(["box", "boxEnd"]);
  });

  test("a finger that moved does not exclude when it rests", () => {
    expect(new Hand().down(5, 5, touch).move(40, 40).feed({ type: "hold" }).did).toEqual(["box"]);
  });

  test("a second finger drops what the first began, pans and zooms", () => {
    const hand = new Hand("brush").down(0, 0, touch).down(10, 0, { ...touch, id: 2 });
    expect(hand.did).toEqual(["stroke", "abandon"]);
    hand.move(30, 0, 2);
    expect(hand.intents.slice(2)).toEqual([
      { do: "pan", dx: 10, dy: 0 },
      { do: "zoom", at: { x: 15, y: 0 }, factor: 3 },
    ]);
  });

  test("the finger left of a pinch does nothing more", () => {
    const hand = new Hand()
      .down(0, 0, touch)
      .down(10, 0, { ...touch, id: 2 })
      .up(10, 0, 2);
    expect(hand.move(90, 90).up(90, 90).did).toEqual(["abandon"]);
    expect(hand.gestures.busy).toBe(false);
    expect(hand.down(1, 1, touch).up(1, 1).did).toEqual(["abandon", "tap"]);
  });

  test("a cancelled pointer takes back what it began", () => {
    expect(new Hand("brush").down(5, 5).feed({ type: "cancel", id: 1 }).did).toEqual([
      "stroke",
      "abandon",
    ]);
  });
});
