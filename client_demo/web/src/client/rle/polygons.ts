/** Rings to polygons with holes and back: parts for export, runs for import. */
import { type Ring, rings, signedArea } from "./contours.ts";
import { fromSpans, type Runs, type Size, type Span } from "./runs.ts";

/** One connected part: its outline and the holes in it. */
export interface Polygon {
  readonly outer: Ring;
  readonly holes: readonly Ring[];
}

/** The parts of a mask, largest first, each with its holes; exact to the pixel edge. */
export function polygons(runs: Runs): Polygon[] {
  const all = rings(runs).map((ring) => ({ ring, area: signedArea(ring) }));
  const parts = all
    .filter(({ area }) => area > 0)
    .sort((a, b) => b.area - a.area)
    .map(({ ring, area }) => ({ outer: ring, area, holes: [] as Ring[] }));
  const bySize = [...parts].reverse();
  for (const { ring, area } of all) {
    if (area >= 0) continue;
    const [x, y] = besideCorner(ring);
    bySize.find((part) => part.area > -area && isInside(part.outer, x, y))?.holes.push(ring);
  }
  return parts.map(({ outer, holes }) => ({ outer, holes }));
}

/** The centre of a pixel inside the hole, at the first edge of its ring: up or down by direction. */
function besideCorner(ring: Ring): [number, number] {
  const [ax, ay, bx] = [ring[0]!, ring[1]!, ring[2]!];
  // A ring starts on a top edge of a span, heading right: the hole it bounds lies above that edge.
  return [Math.min(ax, bx) + 0.5, ay - 0.5];
}

/** Even-odd test of one ring. */
export function isInside(ring: ArrayLike<number>, x: number, y: number): boolean {
  let inside = false;
  let [ax, ay] = [ring[ring.length - 2]!, ring[ring.length - 1]!];
  for (let index = 0; index < ring.length; index += 2) {
    const [bx, by] = [ring[index]!, ring[index + 1]!];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    [ax, ay] = [bx, by];
  }
  return inside;
}

/** Pixels whose centres lie inside an odd number of rings. */
export function fillRings(size: Size, outlines: readonly ArrayLike<number>[]): Runs {
  const crossings: number[][] = Array.from({ length: size.width }, () => []);
  for (const ring of outlines) {
    for (let index = 0; index < ring.length; index += 2) {
      const next = (index + 2) % ring.length;
      crossColumns(crossings, ring[index]!, ring[index + 1]!, ring[next]!, ring[next + 1]!);
    }
  }
  return fromSpans(size, spansOf(crossings, size.height));
}

function crossColumns(columns: number[][], ax: number, ay: number, bx: number, by: number): void {
  const [left, right] = ax < bx ? [ax, bx] : [bx, ax];
  const first = Math.max(0, Math.ceil(left - 0.5));
  for (let x = first; x < columns.length && x + 0.5 < right; x++) {
    columns[x]!.push(ay + ((x + 0.5 - ax) / (bx - ax)) * (by - ay));
  }
}

function* spansOf(crossings: number[][], height: number): Generator<Span> {
  for (const [x, ys] of crossings.entries()) {
    ys.sort((a, b) => a - b);
    for (let index = 0; index + 1 < ys.length; index += 2) {
      const y0 = Math.max(0, Math.ceil(ys[index]! - 0.5));
      const y1 = Math.min(height, Math.ceil(ys[index + 1]! - 0.5));
      if (y1 > y0) yield [x * height + y0, x * height + y1];
    }
  }
}
