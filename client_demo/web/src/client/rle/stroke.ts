/** A brush stroke as runs: the pixels whose centres a disc touched on its way along a line. */
import { fromSpans, type Runs, type Size, type Span } from "./runs.ts";

/** x0, y0, x1, y1, ... of the disc's centre, in image pixels. */
export type Path = readonly number[];

export function strokeRuns(size: Size, path: Path, radius: number): Runs {
  const found: Span[] = [];
  for (let index = 0; index < path.length; index += 2) {
    const next = Math.min(index + 2, path.length - 2);
    const capsule = [path[index]!, path[index + 1]!, path[next]!, path[next + 1]!] as const;
    found.push(...capsuleSpans(size, capsule, radius));
    if (next === index) break;
  }
  found.sort((a, b) => a[0] - b[0]);
  return fromSpans(size, found);
}

type Capsule = readonly [ax: number, ay: number, bx: number, by: number];

function* capsuleSpans(size: Size, capsule: Capsule, radius: number): Generator<Span> {
  const [ax, , bx] = capsule;
  const first = Math.max(0, Math.ceil(Math.min(ax, bx) - radius - 0.5));
  const last = Math.min(size.width - 1, Math.floor(Math.max(ax, bx) + radius - 0.5));
  for (let x = first; x <= last; x++) {
    const reach = verticalReach(capsule, radius, x + 0.5);
    if (!reach) continue;
    const y0 = Math.max(0, Math.ceil(reach[0] - 0.5));
    const y1 = Math.min(size.height, Math.floor(reach[1] - 0.5) + 1);
    if (y1 > y0) yield [x * size.height + y0, x * size.height + y1];
  }
}

/** Where a vertical line meets a capsule, which is convex: one range, or nothing. */
function verticalReach(
  [ax, ay, bx, by]: Capsule,
  radius: number,
  x: number,
): [number, number] | null {
  let [top, bottom] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const include = (y0: number, y1: number) => {
    top = Math.min(top, y0);
    bottom = Math.max(bottom, y1);
  };
  for (const [cx, cy] of [
    [ax, ay],
    [bx, by],
  ] as const) {
    const half = radius * radius - (x - cx) * (x - cx);
    if (half >= 0) include(cy - Math.sqrt(half), cy + Math.sqrt(half));
  }
  for (const y of sideCrossings([ax, ay, bx, by], radius, x)) include(y, y);
  return bottom >= top ? [top, bottom] : null;
}

/** Where a vertical line crosses the two straight sides. */
function* sideCrossings([ax, ay, bx, by]: Capsule, radius: number, x: number): Generator<number> {
  const [dx, dy] = [bx - ax, by - ay];
  const length = Math.hypot(dx, dy);
  if (length === 0 || dx === 0) return;
  for (const side of [-1, 1]) {
    const offsetX = (-dy / length) * radius * side;
    const offsetY = (dx / length) * radius * side;
    const along = (x - ax - offsetX) / dx;
    if (along >= 0 && along <= 1) yield ay + offsetY + along * dy;
  }
}
