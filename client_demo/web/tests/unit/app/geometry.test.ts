import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  boxBetween,
  canvasPoint,
  clampToImage,
  cornersOf,
  imagePoint,
  isInsideImage,
  oppositeCorner,
} from "../../../src/app/geometry/points.ts";
import {
  fitted,
  keepVisible,
  toCanvas,
  toImage,
  type Viewport,
  zoomAt,
} from "../../../src/app/geometry/viewport.ts";

const IMAGE = { width: 1000, height: 500 };
const STAGE = { width: 800, height: 600 };
const coordinate = fc.double({ min: -5000, max: 5000, noNaN: true });
const views: fc.Arbitrary<Viewport> = fc.record({
  scale: fc.double({ min: 0.05, max: 40, noNaN: true }),
  left: coordinate,
  top: coordinate,
});

describe("viewport", () => {
  test("a point goes to the canvas and back at any zoom", () => {
    fc.assert(
      fc.property(views, coordinate, coordinate, (view, x, y) => {
        const back = toImage(view, toCanvas(view, imagePoint(x, y)));
        expect(back.x).toBeCloseTo(x, 6);
        expect(back.y).toBeCloseTo(y, 6);
      }),
    );
  });

  test("zooming leaves in place what is under the pointer", () => {
    const factor = fc.double({ min: 0.1, max: 10, noNaN: true });
    fc.assert(
      fc.property(views, coordinate, coordinate, factor, (view, x, y, by) => {
        const pointer = canvasPoint(x, y);
        const before = toImage(view, pointer);
        const after = toImage(zoomAt(view, pointer, by, IMAGE), pointer);
        expect(Math.hypot(after.x - before.x, after.y - before.y) * view.scale).toBeLessThan(1e-3);
      }),
    );
  });

  test("fitted, the whole image is on the stage, in its middle", () => {
    const view = fitted(IMAGE, STAGE);
    const [a, b] = [toCanvas(view, imagePoint(0, 0)), toCanvas(view, imagePoint(1000, 500))];
    expect(a.x).toBeGreaterThan(0);
    expect(b.x).toBeLessThan(STAGE.width);
    expect(a.x + b.x).toBeCloseTo(STAGE.width);
    expect(a.y + b.y).toBeCloseTo(STAGE.height);
  });

  test("however far it is pushed, some of the image stays", () => {
    fc.assert(
      fc.property(views, (view) => {
        const kept = keepVisible(view, IMAGE, STAGE);
        expect(kept.left).toBeLessThan(STAGE.width);
        expect(kept.left + IMAGE.width * kept.scale).toBeGreaterThan(0);
        expect(kept.top).toBeLessThan(STAGE.height);
        expect(kept.top + IMAGE.height * kept.scale).toBeGreaterThan(0);
      }),
    );
  });
});

describe("boxes and points", () => {
  test("a box is the same from whichever corner it is drawn, and clipped", () => {
    const [a, b] = [imagePoint(-10, 600), imagePoint(200, 100)];
    expect(boxBetween(a, b, IMAGE)).toEqual([0, 100, 200, 500]);
    expect(boxBetween(b, a, IMAGE)).toEqual([0, 100, 200, 500]);
  });

  test("a box is what lies between any of its corners and the one across", () => {
    const box = [10, 20, 110, 220] as const;
    const corners = cornersOf(box);
    for (const [index, corner] of ([0, 1, 2, 3] as const).entries()) {
      expect(boxBetween(corners[index]!, oppositeCorner(box, corner), IMAGE)).toEqual(box);
    }
  });

  test("a box of no area is none", () => {
    expect(boxBetween(imagePoint(5, 5), imagePoint(5.5, 90), IMAGE)).toBeNull();
    expect(boxBetween(imagePoint(-50, 5), imagePoint(-5, 90), IMAGE)).toBeNull();
  });

  test("a clamped point is inside", () => {
    fc.assert(
      fc.property(coordinate, coordinate, (x, y) => {
        expect(isInsideImage(clampToImage(imagePoint(x, y), IMAGE), IMAGE)).toBe(true);
      }),
    );
  });
});
