/** What is exported: pictures with the masks of their objects, apart from how the page holds them. */
import type { Bbox, Rle } from "../../client/index.ts";
import type { Extent } from "../geometry/points.ts";

export interface ExportObject {
  readonly id: number;
  readonly label: string;
  readonly color: string;
  readonly rle: Rle;
  readonly area: number;
  readonly bbox: Bbox;
  readonly score: number | null;
}

export interface Subject extends Extent {
  readonly name: string;
  readonly blob: Blob;
  readonly objects: readonly ExportObject[];
}

export interface OutFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

export const UNNAMED = "object";

/** Why there is no file, in words for the user. */
export class ExportError extends Error {}

/** A file name's stem: without folder, ending and what file systems dislike. */
export function stem(name: string): string {
  return fileSafe(name.replace(/^.*[/\\]/, "").replace(/\.[^.]+$/, "")) || "picture";
}

/** Any words as part of a file name: without what file systems dislike. */
export function fileSafe(words: string): string {
  return words.replace(/[^\p{L}\p{N}\p{M}._-]+/gu, "_");
}

export function jsonFile(name: string, content: unknown): OutFile {
  const bytes = new TextEncoder().encode(`${JSON.stringify(content, null, 1)}\n`);
  return { name, bytes, type: "application/json" };
}
