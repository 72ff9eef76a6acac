/**
 * Outlines of a mask, straight from its runs: exact rings along the edges of pixels, and smooth
 * ones for looking at.
 *
 * Every column span has four corners. Its top and bottom edges join the corners of one span; on
 * each vertical grid line the corners of the columns left and right of it, sorted, join in pairs.
 * So every corner has two neighbours and the boundary falls apart into rings, without ever
 * expanding the mask to pixels. Outer rings have positive area (y down), holes negative; parts
 * that touch only at a corner stay apart.
 */
import { columnSpans, type Runs } from "./runs.ts";

/** x0, y0, x1, y1, ... closed implicitly, in image pixels. */
export type Ring = Float32Array;

// Corners of span s are 4s + these.
const TOP_LEFT = 0;
const TOP_RIGHT = 1;
const BOTTOM_RIGHT = 2;
const BOTTOM_LEFT = 3;

interface Corners {
  readonly xs: number[];
  readonly ys: number[];
  /** The corner at the other end of the vertical edge on this corner's grid line. */
  readonly vertical: Int32Array;
}

/** Exact boundary rings: only corners where the direction changes. */
export function rings(runs: Runs): Ring[] {
  const corners = linkCorners(runs);
  const seen = new Uint8Array(corners.xs.length);
  const found: Ring[] = [];
  for (let start = TOP_LEFT; start < seen.length; start += 4) {
    if (!seen[start]) found.push(walk(corners, start, seen));
  }
  return found;
}

function linkCorners(runs: Runs): Corners {
  const xs: number[] = [];
  const ys: number[] = [];
  const lines = new Map<number, { left: number[]; right: number[] }>();
  const line = (x: number) => {
    const known = lines.get(x) ?? { left: [], right: [] };
    lines.set(x, known);
    return known;
  };
  for (const [x, y0, y1] of columnSpans(runs)) {
    const first = xs.length;
    xs.push(x, x + 1, x + 1, x);
    ys.push(y0, y0, y1, y1);
    line(x).right.push(first + TOP_LEFT, first + BOTTOM_LEFT);
    line(x + 1).left.push(first + TOP_RIGHT, first + BOTTOM_RIGHT);
  }
  const vertical = new Int32Array(xs.length);
  for (const { left, right } of lines.values()) pair(mergeByY(left, right, ys), vertical);
  return { xs, ys, vertical };
}

/** Where two corners share a point the one that ends a span comes first: that keeps parts apart. */
function mergeByY(left: number[], right: number[], ys: number[]): number[] {
  const merged: number[] = [];
  let [l, r] = [0, 0];
  while (l < left.length || r < right.length) {
    const gap = (ys[left[l]!] ?? Infinity) - (ys[right[r]!] ?? Infinity);
    merged.push(gap < 0 || (gap === 0 && l % 2 === 1) ? left[l++]! : right[r++]!);
  }
  return merged;
}

function pair(ordered: number[], vertical: Int32Array): void {
  for (let index = 0; index + 1 < ordered.length; index += 2) {
    vertical[ordered[index]!] = ordered[index + 1]!;
    vertical[ordered[index + 1]!] = ordered[index]!;
  }
}

function walk({ xs, ys, vertical }: Corners, start: number, seen: Uint8Array): Ring {
  const points: number[] = [];
  let corner = start;
  do {
    seen[corner] = 1;
    const across = acrossSpan(corner);
    seen[across] = 1;
    pushTurning(points, xs[corner]!, ys[corner]!);
    pushTurning(points, xs[across]!, ys[across]!);
    corner = vertical[across]!;
  } while (corner !== start);
  return Float32Array.from(dropSeam(points));
}

/** The other end of the horizontal edge a corner lies on. */
function acrossSpan(corner: number): number {
  const kind = corner % 4;
  return corner - kind + [TOP_RIGHT, TOP_LEFT, BOTTOM_LEFT, BOTTOM_RIGHT][kind]!;
}

/** Append a point, dropping repeats and the middle of three in a line. */
function pushTurning(points: number[], x: number, y: number): void {
  const n = points.length;
  if (n >= 2 && points[n - 2] === x && points[n - 1] === y) return;
  if (n >= 4 && inLine(points[n - 4]!, points[n - 3]!, points[n - 2]!, points[n - 1]!, x, y)) {
    points.length = n - 2;
  }
  points.push(x, y);
}

function inLine(ax: number, ay: number, bx: number, by: number, cx: number, cy: number): boolean {
  return (ax === bx && bx === cx) || (ay === by && by === cy);
}

/** The ring closes on itself: the same rule across its end and its beginning. */
function dropSeam(points: number[]): number[] {
  const at = (index: number) => points.at(index)!;
  if (at(-2) === at(0) && at(-1) === at(1)) points.length -= 2;
  if (inLine(at(-4), at(-3), at(-2), at(-1), at(0), at(1))) points.length -= 2;
  if (inLine(at(-2), at(-1), at(0), at(1), at(2), at(3))) {
    // Not the other way round: a ring keeps starting with a top edge that heads right.
    [points[0], points[1]] = [at(-2), at(-1)];
    points.length -= 2;
  }
  return points;
}

/** Twice-counted corners cancel: positive for outer rings, negative for holes. */
export function signedArea(ring: Ring): number {
  let sum = 0;
  let [x, y] = [ring[ring.length - 2]!, ring[ring.length - 1]!];
  for (let index = 0; index < ring.length; index += 2) {
    const [nextX, nextY] = [ring[index]!, ring[index + 1]!];
    sum += x * nextY - nextX * y;
    [x, y] = [nextX, nextY];
  }
  return sum / 2;
}

/** A ring without its stairs: within `tolerance` + 1 pixel of the exact one. */
export function smooth(ring: Ring, tolerance: number): Ring {
  const cut = cutStairs(ring);
  return cut.length / 2 > 8 ? simplify(cut, tolerance) : ring;
}

/** Short edges become their middles; long ones keep their ends but for one pixel. */
function cutStairs(ring: Ring): Ring {
  const points: number[] = [];
  for (let index = 0; index < ring.length; index += 2) {
    const [ax, ay] = [ring[index]!, ring[index + 1]!];
    const [bx, by] = [ring[(index + 2) % ring.length]!, ring[(index + 3) % ring.length]!];
    const length = Math.abs(bx - ax) + Math.abs(by - ay);
    if (length <= 2) {
      points.push((ax + bx) / 2, (ay + by) / 2);
      continue;
    }
    const [dx, dy] = [(bx - ax) / length, (by - ay) / length];
    points.push(ax + dx, ay + dy, bx - dx, by - dy);
  }
  return Float32Array.from(points);
}

/** Douglas-Peucker over a ring, cut at its first point and the one farthest from it. */
function simplify(ring: Ring, tolerance: number): Ring {
  const count = ring.length / 2;
  const keep = new Uint8Array(count + 1);
  const far = farthestFromStart(ring);
  keep[0] = keep[far] = 1;
  const stack: [number, number][] = [
    [0, far],
    [far, count],
  ];
  for (let range = stack.pop(); range; range = stack.pop()) {
    const split = worstBetween(ring, range[0], range[1], tolerance);
    if (split < 0) continue;
    keep[split] = 1;
    stack.push([range[0], split], [split, range[1]]);
  }
  const points: number[] = [];
  for (let index = 0; index < count; index++) {
    if (keep[index]) points.push(ring[2 * index]!, ring[2 * index + 1]!);
  }
  return Float32Array.from(points);
}

function farthestFromStart(ring: Ring): number {
  let [best, worst] = [0, -1];
  for (let index = 1; index < ring.length / 2; index++) {
    const distance = Math.hypot(ring[2 * index]! - ring[0]!, ring[2 * index + 1]! - ring[1]!);
    if (distance > worst) [best, worst] = [index, distance];
  }
  return best;
}

/** The point farthest from the chord, or -1 when all lie within the tolerance. */
function worstBetween(ring: Ring, from: number, to: number, tolerance: number): number {
  const count = ring.length / 2;
  const [ax, ay] = [ring[2 * from]!, ring[2 * from + 1]!];
  const [bx, by] = [ring[2 * (to % count)]!, ring[2 * (to % count) + 1]!];
  const length = Math.hypot(bx - ax, by - ay) || 1;
  let [worst, distance] = [-1, tolerance];
  for (let index = from + 1; index < to; index++) {
    const [px, py] = [ring[2 * index]!, ring[2 * index + 1]!];
    const off = Math.abs((bx - ax) * (ay - py) - (ax - px) * (by - ay)) / length;
    if (off > distance) [worst, distance] = [index, off];
  }
  return worst;
}
