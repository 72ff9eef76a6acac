/** PNG files of masks: eight bits a pixel, a palette where colours mean something. */
import { zlibSync } from "fflate";
import { columnSpans, type Runs } from "../../client/rle/runs.ts";
import type { Extent } from "../geometry/points.ts";
import { type Speck, zlibOfSpecks } from "./sparse.ts";

export type Rgb = readonly [number, number, number];

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GRAYSCALE = 0;
const INDEXED = 3;
/** Filter of a row: each byte as its difference to the one above. */
const UP = 2;

/** `rows`: one byte a pixel, an index into the palette. */
export function indexedPng({ width, height }: Extent, rows: Uint8Array, palette: readonly Rgb[]) {
  return png({ width, height }, zlibSync(unfiltered(width, height, rows)), palette);
}

/** White on black. Against the row above, only the ends of a column's spans are anything. */
export function maskPng(runs: Runs) {
  return png(runs, zlibOfSpecks((runs.width + 1) * runs.height, edges(runs)));
}

/** Of every row that is not black its filter; of every span the byte it begins with, and the next. */
function* edges(runs: Runs): Generator<Speck> {
  const { width, height } = runs;
  const rows: Speck[][] = Array.from({ length: height }, () => []);
  for (const [x, y0, y1] of columnSpans(runs)) {
    // One that goes on where the last one ended: neither is an edge.
    if (rows[y0]!.at(-1)?.[0] === x) rows[y0]!.pop();
    else rows[y0]!.push([x, 255]);
    rows[y1]?.push([x, 1]);
  }
  let white = 0;
  for (const [y, row] of rows.entries()) {
    if (white === 0 && row.length === 0) continue;
    const start = y * (width + 1);
    yield [start, UP];
    for (const [, value] of row) white += value === 255 ? 1 : -1;
    for (const [x, value] of row) yield [start + 1 + x, value];
  }
}

function png({ width, height }: Extent, pixels: Uint8Array, palette?: readonly Rgb[]) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, palette ? INDEXED : GRAYSCALE);
  const chunks = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    ...(palette ? [chunk("PLTE", Uint8Array.from(palette.flat()))] : []),
    chunk("IDAT", pixels),
    chunk("IEND", new Uint8Array()),
  ];
  return concatenate(chunks);
}

/** Every row begins with its filter: none. */
function unfiltered(width: number, height: number, rows: Uint8Array): Uint8Array {
  const lines = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) {
    lines.set(rows.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  return lines;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
