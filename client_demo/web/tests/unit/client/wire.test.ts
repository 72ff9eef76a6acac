import { readFileSync } from "node:fs";
import { decode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import type { ClientMessage } from "../../../src/client/messages.ts";
import schema from "../../../src/client/schema.json" with { type: "json" };
import { pack, unpack } from "../../../src/client/wire.ts";

interface Vector {
  name: string;
  direction: "client" | "server";
  hex: string;
  fields: Record<string, unknown>;
  /** Other bytes that mean the same. */
  variants: Record<string, string>;
}

const folder = new URL("../../../../../tests/vectors/", import.meta.url);
const vectors = ["client", "server"]
  .flatMap((name) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")) as Vector[])
  .map((vector) => ({ ...vector, fields: revive(vector.fields) as Record<string, unknown> }));

/** `{"$hex": "..."}` stands for bytes. */
function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  if ("$hex" in value) return fromHex(String(value.$hex));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revive(inner)]));
}

function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** Bytes compare as bytes, whatever kind of array holds them. */
const plain = (value: unknown) =>
  JSON.parse(
    JSON.stringify(value, (_, inner) => (inner instanceof Uint8Array ? [...inner] : inner)),
  );

describe("golden frames", () => {
  test("are there, both ways", () => {
    expect(new Set(vectors.map(({ direction }) => direction))).toEqual(
      new Set(["client", "server"]),
    );
  });

  test.each(vectors.filter(({ direction }) => direction === "server"))(
    "of the server unpack to their fields: $name",
    ({ hex, fields, variants }) => {
      for (const frame of [hex, ...Object.values(variants)]) {
        expect(plain(unpack(fromHex(frame)))).toEqual(plain(fields));
      }
    },
  );

  test.each(vectors.filter(({ direction }) => direction === "client"))(
    "of a client pack to the same fields: $name",
    ({ hex, fields }) => {
      const ours = pack(fields as unknown as ClientMessage);
      expect(plain(decode(ours))).toEqual(plain(decode(fromHex(hex))));
    },
  );
});

test("a type of a newer server is ignored", () => {
  expect(unpack(pack({ type: "weather" } as never))).toBeNull();
  expect(unpack(pack({ type: "toString" } as never))).toBeNull();
});

test("absent stays absent and null becomes nil", () => {
  expect(decode(pack({ type: "segment", id: 1, prior: undefined }))).not.toHaveProperty("prior");
  expect(decode(pack({ type: "segment", id: 1, prior: null }))).toHaveProperty("prior", null);
});

test("the messages are generated from the schema as it is now", async () => {
  const { messagesSource } = await import("../../../scripts/messages.mjs");
  const committed = readFileSync(
    new URL("../../../src/client/messages.ts", import.meta.url),
    "utf8",
  );
  expect(committed, "stale: run `npm run generate`").toBe(await messagesSource(schema));
});
