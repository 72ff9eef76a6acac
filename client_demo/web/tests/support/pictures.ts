/** Pictures for tests: flat shapes on a soft ground, as PNG files. */
import { crc32 } from "node:zlib";
import { indexedPng } from "../../src/app/export/png.ts";

export interface TestPicture {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

export const WIDTH = 640;
export const HEIGHT = 480;

/** Where the shapes are, in image pixels. */
export const DISC = { x: 190, y: 220, r: 90 } as const;
export const SQUARE = { x0: 380, y0: 150, x1: 530, y1: 330 } as const;

const PALETTE = [
  [216, 205, 184],
  [196, 44, 34],
  [38, 84, 160],
  [208, 197, 175],
] as const;

export function shapesPicture(name = "shapes.png", shift = 0): TestPicture {
  const rows = new Uint8Array(WIDTH * HEIGHT);
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) rows[y * WIDTH + x] = colorAt(x - shift, y);
  }
  const buffer = Buffer.from(indexedPng({ width: WIDTH, height: HEIGHT }, rows, PALETTE));
  return { name, mimeType: "image/png", buffer };
}

function colorAt(x: number, y: number): number {
  if (Math.hypot(x - DISC.x, y - DISC.y) < DISC.r) return 1;
  const inside = x > SQUARE.x0 && x < SQUARE.x1 && y > SQUARE.y0 && y < SQUARE.y1;
  return inside ? 2 : (x * 7 + y * 13) % 5 === 0 ? 3 : 0;
}

/** A header that promises more pixels than any server takes, and little after it. */
export function hugePicture(): TestPicture {
  const buffer = Buffer.from(
    indexedPng({ width: 30_000, height: 1 }, new Uint8Array(30_000), PALETTE),
  );
  buffer.writeUInt32BE(30_000, 20);
  buffer.writeUInt32BE(crc32(buffer.subarray(12, 29)), 29);
  return { name: "huge.png", mimeType: "image/png", buffer };
}

export function corruptPicture(): TestPicture {
  const { buffer } = shapesPicture();
  return { name: "corrupt.png", mimeType: "image/png", buffer: buffer.subarray(0, 60) };
}

/** One strip of uncompressed grey, which servers read and browsers do not. */
export function tiffPicture(): TestPicture {
  const [width, height] = [64, 48];
  const SHORT = 3;
  const LONG = 4;
  const tags = [
    [256, SHORT, width],
    [257, SHORT, height],
    [258, SHORT, 8],
    [259, SHORT, 1],
    [262, SHORT, 1],
    [273, LONG, 256],
    [277, SHORT, 1],
    [278, SHORT, height],
    [279, LONG, width * height],
  ] as const;
  const buffer = Buffer.alloc(256 + width * height, 128);
  buffer.write("II*\0", "latin1");
  buffer.writeUInt32LE(8, 4);
  buffer.writeUInt16LE(tags.length, 8);
  for (const [index, [tag, type, value]] of tags.entries()) {
    const at = 10 + index * 12;
    buffer.writeUInt16LE(tag, at);
    buffer.writeUInt16LE(type, at + 2);
    buffer.writeUInt32LE(1, at + 4);
    buffer.writeUInt32LE(value, at + 8);
  }
  buffer.writeUInt32LE(0, 10 + tags.length * 12);
  return { name: "scan.tif", mimeType: "image/tiff", buffer };
}
