import { readFileSync } from "node:fs";
import { decode, encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import type { ClientMessage } from "../../../src/client/messages.ts";
import schema from "../../../src/client/schema.json" with { type: "json" };
import { FrameError, pack, unpack } from "../../../src/client/wire.ts";

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

test("fields of a newer server are ignored", () => {
  expect(unpack(encode({ type: "done", id: 1, mood: "good" }))).toMatchObject({ id: 1 });
});

test.each([
  ["text", "82a4"],
  ["nothing", new Uint8Array()],
  ["half a message", encode({ type: "send", id: 1 }).slice(0, -1)],
  ["two messages", Uint8Array.from([...encode({ type: "x" }), ...encode({ type: "x" })])],
  ["a byte that begins no value", Uint8Array.of(0xc1)],
  ["a number", encode(1)],
  ["nil", encode(null)],
  ["a list", encode([{ type: "send" }])],
  ["a map without a type", encode({ id: 1 })],
  ["a type that is no text", encode({ type: 1 })],
  ["a list that claims millions of items", Uint8Array.of(0xdd, 1, 255, 255, 255)],
  ["a timestamp", encode({ type: "done", id: 1, at: new Date() })],
])("%s is no frame", (_, frame) => {
  expect(() => unpack(frame)).toThrow(FrameError);
});

describe("the schema and what is checked of a message agree", () => {
  interface Schema {
    $ref?: string;
    type?: string;
    format?: string;
    const?: string;
    enum?: string[];
    ge?: number;
    le?: number;
    properties?: Record<string, Schema>;
    required?: string[];
    items?: Schema;
    prefixItems?: Schema[];
    anyOf?: Schema[];
  }
  type Values = Record<string, unknown>;
  const definitions = schema.definitions as Record<string, Schema>;

  interface Slot {
    readonly path: string;
    readonly schema: Schema;
    readonly required: boolean;
    /** The frame with this one thing in the place; undefined: nothing. */
    readonly holding: (value: unknown) => Values;
  }

  function* slotsOf(definition: Schema, fields: Values, path: string): Generator<Slot> {
    for (const [name, schema] of Object.entries(definition.properties ?? {})) {
      if (name === "type" || !(name in fields)) continue;
      const required = !!definition.required?.includes(name);
      const holding = (value: unknown) => ({ ...fields, [name]: value });
      yield* inside({ path: `${path}.${name}`, schema, required, holding }, fields[name]);
    }
  }

  function* inside(slot: Slot, value: unknown): Generator<Slot> {
    const schema = resolved(slot.schema);
    yield { ...slot, schema };
    const deeper = (inner: Slot, wrap: (value: Values) => unknown): Slot => ({
      ...inner,
      holding: (value) => slot.holding(wrap(inner.holding(value))),
    });
    if (schema.properties) {
      for (const inner of slotsOf(schema, value as Values, slot.path)) {
        yield deeper(inner, (fields) => fields);
      }
    } else if (Array.isArray(value) && value.length > 0) {
      const [first, ...rest] = value;
      const item = schema.prefixItems?.[0] ?? schema.items!;
      const place = { path: `${slot.path}.0`, schema: item, required: true };
      for (const inner of inside({ ...place, holding: (held) => ({ held }) }, first)) {
        yield deeper(inner, ({ held }) => [held, ...rest]);
      }
    }
  }

  function resolved(node: Schema): Schema {
    const name = node.$ref?.replace("#/definitions/", "");
    return name ? definitions[name]! : node;
  }

  const isNullable = ({ anyOf }: Schema) => anyOf !== undefined;

  /** Of the same kind, but not what the schema allows; and what is of no kind it could be. */
  function wrongFor(node: Schema): unknown[] {
    const { type, format, ge, le, enum: words, prefixItems } = node.anyOf?.[0] ?? node;
    const wrong: unknown[] = isNullable(node) ? [] : [null];
    const others = [7.5, "7", true, Uint8Array.of(7), [7], { a: 7 }];
    const but = (kind: string) => others.filter((other) => typeof other !== kind);
    if (type === "integer") wrong.push(...others, ge! - 1, 2 ** 53, Number.NaN);
    if (type === "number") wrong.push(...but("number"), Number.NaN, Number.POSITIVE_INFINITY);
    if (type === "number" && le !== undefined) wrong.push(-0.1, 1.1);
    if (type === "boolean") wrong.push(0, ...but("boolean"));
    if (type === "string" && format !== "binary") wrong.push(...but("string"));
    if (type === "string" && format === "binary") wrong.push(...but("object"), [7]);
    if (words) wrong.push("nonsense");
    if (type === "array") wrong.push(...others);
    if (prefixItems) wrong.push([], [1], [1, 1, 1], [1, 1, 1, 1, 1]);
    if (type === "object") wrong.push(...others);
    return wrong;
  }

  const byType = new Map(
    schema.server.map((name) => {
      const definition = definitions[name]!;
      return [definition.properties!.type!.const!, definition];
    }),
  );
  const slots = vectors
    .filter(({ direction }) => direction === "server")
    .flatMap(({ fields }) => {
      const type = String(fields.type);
      return [...slotsOf(byType.get(type)!, fields, type)];
    });
  const once = [...new Map(slots.map((slot) => [slot.path, slot])).values()];

  test("on every field there is", () => {
    const paths = new Set(once.map(({ path }) => path));
    for (const [type, { properties }] of byType) {
      for (const name of Object.keys(properties!)) {
        if (name !== "type") expect(paths).toContain(`${type}.${name}`);
      }
    }
    expect(paths).toContain("mask.candidates.0.rle.size.0");
    expect(paths).toContain("welcome.limits.segments_per_s");
  });

  test.each(once)("$path", ({ schema, required, holding }) => {
    for (const value of wrongFor(schema)) {
      expect(() => unpack(encode(holding(value))), String(value)).toThrow(FrameError);
    }
    if (isNullable(schema)) expect(unpack(encode(holding(null)))).not.toBeNull();
    const without = encode(holding(undefined), { ignoreUndefined: true });
    if (required) expect(() => unpack(without)).toThrow(FrameError);
    else expect(unpack(without)).not.toBeNull();
  });
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
