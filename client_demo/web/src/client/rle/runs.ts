/**
 * A mask as run lengths, and everything that can be asked of it without its pixels.
 *
 * Runs go down the columns, background first; a 12-megapixel mask is some thousand numbers. All
 * operations are linear in those.
 */
import { decodeCounts, encodeCounts, RleError } from "./codec.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Runs extends Size {
  readonly lengths: Uint32Array;
}

/** COCO's own layout, as it travels on the wire: `size` is height, width. */
export interface Rle {
  readonly size: [number, number];
  readonly counts: Uint8Array;
}

/** x, y, width, height. */
export type Bbox = readonly [number, number, number, number];

/** A half-open range of column-major pixel indices. */
export type Span = readonly [start: number, end: number];

export function fromRle(rle: Rle): Runs {
  const [height, width] = rle.size;
  return { width, height, lengths: decodeCounts(rle.counts, width * height) };
}

export function toRle(runs: Runs): Rle {
  return { size: [runs.height, runs.width], counts: encodeCounts(runs.lengths) };
}

export function emptyRuns({ width, height }: Size): Runs {
  return { width, height, lengths: Uint32Array.of(width * height) };
}

export function area(runs: Runs): number {
  let sum = 0;
  for (let index = 1; index < runs.lengths.length; index += 2) sum += runs.lengths[index]!;
  return sum;
}

/** The foreground as spans of column-major indices, in order. */
export function* spans(runs: Runs): Generator<Span> {
  let at = 0;
  for (let index = 0; index < runs.lengths.length; index++) {
    const end = at + runs.lengths[index]!;
    if (index % 2 === 1 && end > at) yield [at, end];
    at = end;
  }
}

/** The foreground column by column: a span that runs on into the next column is cut there. */
export function* columnSpans(runs: Runs): Generator<readonly [x: number, y0: number, y1: number]> {
  const { height } = runs;
  for (const [start, end] of spans(runs)) {
    for (let at = start; at < end; ) {
      const x = Math.floor(at / height);
      const stop = Math.min(end, (x + 1) * height);
      yield [x, at - x * height, stop - x * height];
      at = stop;
    }
  }
}

/** The smallest box around the mask; zeros when it is empty. */
export function bbox(runs: Runs): Bbox {
  let [left, top, right, bottom] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0, 0];
  for (const [x, y0, y1] of columnSpans(runs)) {
    left = Math.min(left, x);
    right = Math.max(right, x + 1);
    top = Math.min(top, y0);
    bottom = Math.max(bottom, y1);
  }
  return right > left ? [left, top, right - left, bottom - top] : [0, 0, 0, 0];
}

/** Answers "is this pixel inside" by bisection; build it once for many questions. */
export function hitTester(runs: Runs): (x: number, y: number) => boolean {
  const ends = new Float64Array(runs.lengths.length);
  let sum = 0;
  for (let index = 0; index < ends.length; index++) {
    sum += runs.lengths[index]!;
    ends[index] = sum;
  }
  return (x, y) => {
    if (!(x >= 0 && y >= 0 && x < runs.width && y < runs.height)) return false;
    return bisect(ends, Math.floor(x) * runs.height + Math.floor(y)) % 2 === 1;
  };
}

/** Index of the first end beyond `position`. */
function bisect(ends: Float64Array, position: number): number {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle]! > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Runs from spans in ascending order of start; they may touch or overlap. */
export function fromSpans(size: Size, ordered: Iterable<Span>): Runs {
  const pixels = size.width * size.height;
  const lengths: number[] = [];
  let [open, close] = [0, 0];
  let last = 0;
  const flush = () => {
    if (close > open) {
      lengths.push(open - last, close - open);
      last = close;
    }
  };
  for (const [start, end] of ordered) {
    if (end <= start) continue;
    if (start <= close && close > open) {
      close = Math.max(close, end);
      continue;
    }
    flush();
    [open, close] = [start, end];
  }
  flush();
  if (last < pixels || lengths.length === 0) lengths.push(pixels - last);
  return { ...size, lengths: Uint32Array.from(lengths) };
}

export type Operation = "union" | "subtract";

/** The union of two masks of one size, or the first without the second. */
export function combine(first: Runs, second: Runs, operation: Operation): Runs {
  if (first.width !== second.width || first.height !== second.height) {
    throw new RleError("expected two masks of one size");
  }
  const lengths: number[] = [];
  const cursors = [cursor(first.lengths), cursor(second.lengths)] as const;
  const pixels = first.width * first.height;
  let inside = false;
  let start = 0;
  for (let at = 0; at < pixels; ) {
    const [a, b] = [cursors[0](at), cursors[1](at)];
    const now = operation === "union" ? a.inside || b.inside : a.inside && !b.inside;
    if (now !== inside) {
      lengths.push(at - start);
      [inside, start] = [now, at];
    }
    at = Math.min(a.end, b.end);
  }
  lengths.push(pixels - start);
  return { width: first.width, height: first.height, lengths: Uint32Array.from(lengths) };
}

/** Walks runs forward: the run at a position that never goes back. */
function cursor(lengths: Uint32Array): (at: number) => { inside: boolean; end: number } {
  let index = 0;
  let end = lengths[0] ?? 0;
  return (at) => {
    while (end <= at && index + 1 < lengths.length) end += lengths[++index]!;
    return { inside: index % 2 === 1, end };
  };
}
