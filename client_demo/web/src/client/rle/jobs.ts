/** The work on masks that may be too much for a frame of 16 ms: pure functions, run in a worker. */
import { type Ring, rings, smooth } from "./contours.ts";
import { fillRings } from "./polygons.ts";
import {
  area,
  type Bbox,
  bbox,
  combine,
  emptyRuns,
  fromRle,
  type Operation,
  type Rle,
  type Runs,
  type Size,
  toRle,
} from "./runs.ts";
import { type Path, strokeRuns } from "./stroke.ts";

/** In pixels: below what an eye tells from the exact outline unless zoomed in. */
const SMOOTH_TOLERANCE = 0.6;

/** A mask ready to be shown: outlines as SVG path data, in image pixels. */
export interface Traced extends Runs {
  readonly rle: Rle;
  readonly area: number;
  readonly bbox: Bbox;
  /** Along the edges of pixels. */
  readonly exact: string;
  /** Without stairs: for looking at from afar. */
  readonly smooth: string;
}

/** Alone, so that a page which traces small masks itself need not load the rest. */
export function trace(rle: Rle): Traced {
  return traced(fromRle(rle), rle);
}

export const jobs = {
  trace,

  /** Add or take away what a brush touched; without a mask to start from, on an empty one. */
  stroke: (size: Size, base: Rle | null, path: Path, radius: number, how: Operation): Traced => {
    const start = base ? fromRle(base) : emptyRuns(size);
    return traced(combine(start, strokeRuns(size, path, radius), how));
  },

  /** The union of polygons, each a list of rings of which the later ones are holes. */
  fill: (size: Size, parts: readonly (readonly ArrayLike<number>[])[]): Traced =>
    traced(
      parts
        .map((part) => fillRings(size, part))
        .reduce((whole, part) => combine(whole, part, "union"), emptyRuns(size)),
    ),
} as const;

export type Jobs = typeof jobs;

function traced(runs: Runs, rle: Rle = toRle(runs)): Traced {
  const outlines = rings(runs);
  return {
    width: runs.width,
    height: runs.height,
    lengths: runs.lengths,
    rle,
    area: area(runs),
    bbox: bbox(runs),
    exact: pathData(outlines),
    smooth: pathData(outlines.map((ring) => smooth(ring, SMOOTH_TOLERANCE))),
  };
}

function pathData(outlines: readonly Ring[]): string {
  return outlines.map(ringData).join("");
}

function ringData(ring: Ring): string {
  const parts: string[] = [];
  for (let index = 0; index < ring.length; index += 2) {
    parts.push(`${short(ring[index]!)} ${short(ring[index + 1]!)}`);
  }
  return `M${parts.join("L")}Z`;
}

function short(value: number): number {
  return Math.round(value * 10) / 10;
}
