/**
 * Zlib streams of what is nearly all zeros, in the time of what is not.
 *
 * A library would look at every byte of every mask: twelve megabytes each, of which some thousand
 * bytes say anything. Here a run of zeros is counted, never written out.
 */

/** A byte that is not zero, and where. */
export type Speck = readonly [at: number, value: number];

const END = 256;
const LONGEST = 258;
const SHORTEST = 3;

/** Bits of each symbol: the longest match is most of a mask, then come the bytes of its edges. */
function lengthOf(symbol: number): number {
  if (symbol === 285) return 1;
  if (symbol < 3 || symbol === 255) return 5;
  if (symbol < END) return 0;
  return symbol > END && symbol < 276 ? 6 : 7;
}

/** The lengths themselves are written in a code of their own: its lengths, in the format's order. */
const HEADER_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
const HEADER_LENGTHS = Array.from({ length: 19 }, () => 0);
for (const symbol of [5, 6, 7]) HEADER_LENGTHS[symbol] = 2;
for (const symbol of [1, 18]) HEADER_LENGTHS[symbol] = 3;

const LENGTHS = Array.from({ length: 286 }, (_, symbol) => lengthOf(symbol));
const HEADER_CODES = codesOf(HEADER_LENGTHS);
const CODES = codesOf(LENGTHS);

/** `length` bytes: `specks`, which come in order, and zeros. Only 1, 2 and 255 have a code. */
export function zlibOfSpecks(length: number, specks: Iterable<Speck>): Uint8Array {
  const bits = new Bits([0x78, 0x01]);
  let [a, b] = [1, 0]; // the two halves of Adler-32
  let at = 0;
  const zeros = (count: number) => {
    writeZeros(bits, count);
    b = (b + a * count) % 65521;
    at += count;
  };
  writeHeader(bits);
  for (const [place, value] of specks) {
    zeros(place - at);
    bits.code(CODES, value);
    a = (a + value) % 65521;
    b = (b + a) % 65521;
    at += 1;
  }
  zeros(length - at);
  bits.code(CODES, END);
  return bits.bytes([b >> 8, b & 255, a >> 8, a & 255]);
}

/** One block, the last one, with the codes above and two equal ones for distances. */
function writeHeader(bits: Bits): void {
  bits.push(1 | (2 << 1), 3);
  bits.push(LENGTHS.length - 257, 5);
  bits.push(2 - 1, 5);
  bits.push(HEADER_ORDER.length - 4, 4);
  for (const symbol of HEADER_ORDER) bits.push(HEADER_LENGTHS[symbol]!, 3);
  for (const length of LENGTHS.slice(0, 3)) bits.code(HEADER_CODES, length);
  for (const unused of [126, 126]) {
    bits.code(HEADER_CODES, 18);
    bits.push(unused - 11, 7);
  }
  for (const length of [...LENGTHS.slice(255), 1, 1]) bits.code(HEADER_CODES, length);
}

/** The first as itself, the others as a repetition of it. */
function writeZeros(bits: Bits, count: number): void {
  if (count === 0) return;
  bits.code(CODES, 0);
  let left = count - 1;
  for (; left >= SHORTEST; left -= Math.min(left, LONGEST)) {
    writeLength(bits, Math.min(left, LONGEST));
    bits.push(0, 1); // a distance of one
  }
  for (; left > 0; left--) bits.code(CODES, 0);
}

function writeLength(bits: Bits, length: number): void {
  if (length === LONGEST) return bits.code(CODES, 285);
  const beyond = length - SHORTEST;
  const extra = Math.max(0, 29 - Math.clz32(beyond));
  bits.code(CODES, 257 + 4 * extra + (beyond >> extra));
  bits.push(beyond & ((1 << extra) - 1), extra);
}

interface Code {
  readonly value: number;
  readonly length: number;
}

/** Deflate's own codes of these lengths, bits turned round as they are written. */
function codesOf(lengths: readonly number[]): readonly Code[] {
  const codes = lengths.map((length) => ({ value: 0, length }));
  let next = 0;
  for (let length = 1; length <= 15; length++) {
    next *= 2;
    for (const code of codes.filter((one) => one.length === length)) {
      code.value = reversed(next++, length);
    }
  }
  return codes;
}

function reversed(value: number, length: number): number {
  let turned = 0;
  for (let bit = 0; bit < length; bit++) turned |= ((value >> bit) & 1) << (length - 1 - bit);
  return turned;
}

/** Bits to bytes, lowest first. */
class Bits {
  readonly #bytes: number[];
  #pending = 0;
  #count = 0;

  constructor(start: readonly number[]) {
    this.#bytes = [...start];
  }

  code(codes: readonly Code[], symbol: number): void {
    const { value, length } = codes[symbol]!;
    this.push(value, length);
  }

  push(value: number, length: number): void {
    this.#pending |= value << this.#count;
    this.#count += length;
    for (; this.#count >= 8; this.#count -= 8) {
      this.#bytes.push(this.#pending & 255);
      this.#pending >>>= 8;
    }
  }

  bytes(end: readonly number[]): Uint8Array {
    const rest = this.#count > 0 ? [this.#pending] : [];
    return Uint8Array.from([...this.#bytes, ...rest, ...end]);
  }
}
