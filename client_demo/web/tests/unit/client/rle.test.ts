import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCounts, encodeCounts } from "../../../src/client/rle/codec.ts";
import { rings, signedArea, smooth } from "../../../src/client/rle/contours.ts";
import { fillRings, polygons } from "../../../src/client/rle/polygons.ts";
import { paintRows } from "../../../src/client/rle/raster.ts";
import {
  area,
  bbox,
  combine,
  emptyRuns,
  fromRle,
  fromSpans,
  hitTester,
  type Runs,
  type Span,
  toRle,
} from "../../../src/client/rle/runs.ts";
import { strokeRuns } from "../../../src/client/rle/stroke.ts";
import vectors from "./rle-vectors.json" with { type: "json" };

const bytes = (text: string) => new TextEncoder().encode(text);
const sized = ([height, width]: number[]) => ({ width: width!, height: height! });

function rows(runs: Runs): string {
  const pixels = new Uint8Array(runs.width * runs.height);
  paintRows(runs, pixels, 1);
  return pixels.join("");
}

function fromRows(width: number, height: number, inside: (x: number, y: number) => boolean): Runs {
  const found: Span[] = [];
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if (inside(x, y)) found.push([x * height + y, x * height + y + 1]);
    }
  }
  return fromSpans({ width, height }, found);
}

const masks = fc
  .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }))
  .chain(([width, height]) =>
    fc
      .array(fc.boolean(), { minLength: width * height, maxLength: width * height })
      .map((pixels) => fromRows(width, height, (x, y) => pixels[y * width + x]!)),
  );

describe("COCO counts", () => {
  test.each(vectors.cases)("decode to pycocotools' pixels: $size", (vector) => {
    const runs = fromRle({ size: vector.size as [number, number], counts: bytes(vector.counts) });
    expect(rows(runs)).toBe(vector.rows);
    expect(area(runs)).toBe(vector.area);
    expect(bbox(runs)).toEqual(vector.bbox);
  });

  test.each([...vectors.cases, vectors.tall])("encode to pycocotools' bytes: $size", (vector) => {
    const { width, height } = sized(vector.size);
    const runs = decodeCounts(bytes(vector.counts), width * height);
    expect(encodeCounts(runs)).toEqual(bytes(vector.counts));
  });

  test("a mask of twelve megapixels keeps its area", () => {
    const { size, counts } = vectors.tall;
    const runs = fromRle({ size: size as [number, number], counts: bytes(counts) });
    expect(area(runs)).toBe(vectors.tall.area);
    expect(polygons(runs)).toHaveLength(1);
    expect(polygons(runs)[0]!.holes).toHaveLength(1);
  });

  test("survive run lengths of any size", () => {
    const length = fc.integer({ min: 0, max: 2 ** 33 });
    fc.assert(
      fc.property(fc.array(length, { minLength: 1, maxLength: 20 }), (lengths) => {
        const small = lengths.map((value) => value % 2 ** 31);
        const total = small.reduce((sum, value) => sum + value, 0);
        expect([...decodeCounts(encodeCounts(Uint32Array.from(small)), total)]).toEqual(small);
      }),
    );
  });

  test.each([
    ["a number that breaks off", "P"],
    ["a byte outside the alphabet", "\u0001"],
    ["runs that do not fill the size", "3"],
  ])("refuse %s", (_, counts) => {
    expect(() => decodeCounts(bytes(counts), 12)).toThrow(/expected/);
  });
});

describe("runs", () => {
  test("go through RLE and back unchanged", () => {
    fc.assert(
      fc.property(masks, (runs) => {
        expect(rows(fromRle(toRle(runs)))).toBe(rows(runs));
      }),
    );
  });

  test("combine pixel by pixel", () => {
    const pair = masks.chain((first) =>
      fc.tuple(
        fc.constant(first),
        fc.array(fc.boolean(), {
          minLength: first.width * first.height,
          maxLength: first.width * first.height,
        }),
      ),
    );
    fc.assert(
      fc.property(pair, ([first, pixels]) => {
        const { width, height } = first;
        const second = fromRows(width, height, (x, y) => pixels[y * width + x]!);
        const inFirst = hitTester(first);
        const inSecond = hitTester(second);
        const union = fromRows(width, height, (x, y) => inFirst(x, y) || inSecond(x, y));
        const rest = fromRows(width, height, (x, y) => inFirst(x, y) && !inSecond(x, y));
        expect(rows(combine(first, second, "union"))).toBe(rows(union));
        expect(rows(combine(first, second, "subtract"))).toBe(rows(rest));
      }),
    );
  });

  test("a hit outside the picture is no hit", () => {
    const hit = hitTester(fromRows(2, 2, () => true));
    expect([hit(0, 0), hit(1.9, 1.9), hit(-0.1, 0), hit(2, 0), hit(Number.NaN, 0)]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("rings", () => {
  test("enclose the area of the mask, holes subtracted", () => {
    fc.assert(
      fc.property(masks, (runs) => {
        const sum = rings(runs).reduce((total, ring) => total + signedArea(ring), 0);
        expect(sum).toBe(area(runs));
      }),
    );
  });

  test("fill to the very same mask", () => {
    fc.assert(
      fc.property(masks, (runs) => {
        expect(rows(fillRings(runs, rings(runs)))).toBe(rows(runs));
      }),
    );
  });

  test("every hole belongs to a part", () => {
    fc.assert(
      fc.property(masks, (runs) => {
        const parts = polygons(runs);
        const holes = parts.reduce((count, part) => count + part.holes.length, 0);
        expect(parts.length + holes).toBe(rings(runs).length);
      }),
    );
  });

  test("parts that touch at a corner stay apart, whichever way they lean", () => {
    expect(polygons(fromRows(2, 2, (x, y) => x === y))).toHaveLength(2);
    expect(polygons(fromRows(2, 2, (x, y) => x !== y))).toHaveLength(2);
  });

  test("a rectangle has four corners and keeps them when smoothed", () => {
    const [ring] = rings(fromRows(30, 20, (x, y) => x > 2 && x < 20 && y > 3 && y < 15));
    expect(ring).toHaveLength(8);
    expect(smooth(ring!, 0.5)).toHaveLength(8);
  });

  test("smoothing a disc drops most points and little area", () => {
    const disc = fromRows(200, 200, (x, y) => Math.hypot(x - 100, y - 100) < 80);
    const [ring] = rings(disc);
    const rounded = smooth(ring!, 0.6);
    expect(rounded.length).toBeLessThan(ring!.length / 3);
    expect(Math.abs(signedArea(rounded) / area(disc) - 1)).toBeLessThan(0.01);
  });
});

describe("strokes", () => {
  test("cover exactly the pixels whose centres the disc touched", () => {
    const coordinate = fc.double({ min: -5, max: 25, noNaN: true });
    const line = fc.tuple(coordinate, coordinate, coordinate, coordinate);
    fc.assert(
      fc.property(
        line,
        fc.double({ min: 0.6, max: 9, noNaN: true }),
        ([ax, ay, bx, by], radius) => {
          const distance = (x: number, y: number) => {
            const length = (bx - ax) ** 2 + (by - ay) ** 2;
            const along = length && ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length;
            const t = Math.min(1, Math.max(0, along));
            return Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay));
          };
          const hit = hitTester(strokeRuns({ width: 20, height: 20 }, [ax, ay, bx, by], radius));
          for (let x = 0; x < 20; x++) {
            for (let y = 0; y < 20; y++) {
              const off = distance(x + 0.5, y + 0.5) - radius;
              if (Math.abs(off) > 1e-6) expect(hit(x, y)).toBe(off < 0);
            }
          }
        },
      ),
    );
  });

  test("a single dab is a disc", () => {
    const dab = strokeRuns({ width: 21, height: 21 }, [10.5, 10.5], 5);
    expect(area(dab)).toBe(area(fromRows(21, 21, (x, y) => Math.hypot(x - 10, y - 10) <= 5)));
    expect(area(strokeRuns({ width: 9, height: 9 }, [], 5))).toBe(
      area(emptyRuns({ width: 9, height: 9 })),
    );
  });
});
