/**
 * COCO's compressed RLE, exactly as pycocotools writes and reads it.
 *
 * Counts run down the columns, background first. Each is written in characters of six bits (five
 * of value, one "more follows", from "0" up), from the fourth on as the difference to the one
 * before the last. Arithmetic is on doubles, not int32, so that no size of image overflows.
 */

export class RleError extends Error {
  override name = "RleError";
}

const POWERS = Array.from({ length: 10 }, (_, group) => 32 ** group);

/** Run lengths of `counts`, which must fill `pixels` exactly. */
export function decodeCounts(counts: Uint8Array, pixels: number): Uint32Array {
  const runs: number[] = [];
  let at = 0;
  let total = 0;
  while (at < counts.length) {
    let value = 0;
    let group = 0;
    let character: number;
    do {
      character = (counts[at++] ?? -1) - 48;
      const weight = POWERS[group++];
      if (character < 0 || character > 63 || weight === undefined) {
        throw new RleError(`expected a complete number before byte ${at} of the counts`);
      }
      value += (character & 31) * weight;
      if ((character & 48) === 16) value -= weight * 32;
    } while (character & 32);
    if (runs.length > 2) value += runs[runs.length - 2]!;
    if (value < 0) throw new RleError(`expected run ${runs.length} not to be negative`);
    total += value;
    runs.push(value);
  }
  if (total !== pixels) throw new RleError(`expected runs over ${pixels} pixels, got ${total}`);
  return Uint32Array.from(runs);
}

/** The counts of run lengths, byte for byte pycocotools'. */
export function encodeCounts(runs: Uint32Array): Uint8Array {
  const bytes: number[] = [];
  for (let index = 0; index < runs.length; index++) {
    let value = runs[index]! - (index > 2 ? runs[index - 2]! : 0);
    let more = true;
    while (more) {
      const low = ((value % 32) + 32) % 32;
      value = (value - low) / 32;
      more = low & 16 ? value !== -1 : value !== 0;
      bytes.push(low + (more ? 32 : 0) + 48);
    }
  }
  return Uint8Array.from(bytes);
}
