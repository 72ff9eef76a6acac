/** Runs to pixels, for pictures: row by row, as canvases and PNG want them. */
import { columnSpans, type Runs } from "./runs.ts";

/** Write `value` into a row-major image wherever the mask is. */
export function paintRows(runs: Runs, rows: Uint8Array, value: number): void {
  const { width } = runs;
  for (const [x, y0, y1] of columnSpans(runs)) {
    const end = y1 * width + x;
    for (let at = y0 * width + x; at < end; at += width) rows[at] = value;
  }
}
