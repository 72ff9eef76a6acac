/** The protocol's JSON schema to TypeScript: pure text, so that a test can compare it. */
import { compile } from "json-schema-to-typescript";

const HEADER = `// GENERATED from server/protocol.py by \`npm run generate\`; do not edit.
`;

export async function messagesSource(schema) {
  const root = {
    title: "Unused",
    type: "object",
    additionalProperties: false,
    definitions: asTuples(schema.definitions),
    properties: {},
  };
  const types = await compile(root, "Unused", {
    bannerComment: "",
    unreachableDefinitions: true,
    format: false,
    additionalProperties: false,
  });
  return [
    HEADER,
    `export const SUBPROTOCOL = ${JSON.stringify(schema.subprotocol)};`,
    `export const MAX_DATA_BYTES = ${schema.maxDataBytes};`,
    `export const MAX_POINTS = ${schema.maxPoints};`,
    `export const MAX_PRIOR_BYTES = ${schema.maxPriorBytes};`,
    "",
    `export type ClientMessage = ${schema.client.join(" | ")};`,
    `export type ServerMessage = ${schema.server.join(" | ")};`,
    "",
    "/** Every code the server's error table has. */",
    `export type ErrorCode =\n${schema.errors.map((code) => `  | ${JSON.stringify(code)}`).join("\n")};`,
    "",
    withoutNoise(types),
  ].join("\n");
}

/** Pydantic writes tuples as `prefixItems`, the generator reads them as a list of `items`. */
function asTuples(node) {
  if (Array.isArray(node)) return node.map(asTuples);
  if (node === null || typeof node !== "object") return node;
  const { prefixItems, maxItems, minItems, ...rest } = node;
  const copy = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, asTuples(value)]),
  );
  return prefixItems ? { ...copy, items: asTuples(prefixItems), minItems, maxItems } : copy;
}

/** The empty root, and comments that repeat what the types say. */
function withoutNoise(types) {
  return types
    .replace(/export interface Unused \{\s*\}\n/, "")
    .replace(/ \* ?\n \* This interface was referenced by[^\n]*\n \* via the [^\n]*\n/g, "")
    .replace(/\/\*\*\n( \* @\w+ \d+\n)+ \*\/\n/g, "")
    .trim()
    .concat("\n");
}
