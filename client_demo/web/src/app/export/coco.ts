/** COCO instance annotations, masks as compressed RLE, which keeps holes and every pixel. */
import type { Rle } from "../../client/index.ts";
import { encodeCounts } from "../../client/rle/codec.ts";
import { type Subject, UNNAMED } from "./subject.ts";

export interface CocoAnnotation {
  readonly id: number;
  readonly image_id: number;
  readonly category_id: number;
  /** Files of other tools leave it out of what is only a box. */
  readonly segmentation?: CocoSegmentation | null;
  readonly area: number;
  readonly bbox: readonly number[];
  readonly iscrowd: 0 | 1;
  readonly score?: number;
}

/** RLE with counts as a string or as a list, or polygons. */
export type CocoSegmentation =
  | { readonly size: [number, number]; readonly counts: string | readonly number[] }
  | readonly (readonly number[])[];

export interface Coco {
  readonly images: readonly { id: number; file_name: string; width: number; height: number }[];
  readonly categories: readonly { id: number; name: string; supercategory?: string }[];
  readonly annotations: readonly CocoAnnotation[];
}

export function toCoco(subjects: readonly Subject[], classes: readonly string[]): Coco {
  const used = subjects.flatMap(({ objects }) => objects.map(({ label }) => label || UNNAMED));
  // Used or not: a class keeps its number from one export to the next.
  const names = [...new Set([...classes, ...used])];
  const annotations = subjects.flatMap(({ objects }, image) =>
    objects.map((object) => ({
      image_id: image + 1,
      category_id: names.indexOf(object.label || UNNAMED) + 1,
      segmentation: { size: object.rle.size, counts: text(object.rle.counts) },
      area: object.area,
      bbox: object.bbox,
      iscrowd: 0 as const,
      ...(object.score === null ? {} : { score: object.score }),
    })),
  );
  return {
    images: subjects.map(({ name, width, height }, index) => ({
      ...{ id: index + 1, file_name: name, width, height },
    })),
    categories: names.map((name, index) => ({ id: index + 1, name, supercategory: "" })),
    annotations: annotations.map((annotation, index) => ({ id: index + 1, ...annotation })),
  };
}

export interface ImportedObject {
  readonly label: string;
  readonly shape: { readonly rle: Rle } | { readonly polygons: readonly (readonly number[])[] };
}

export interface ImportedImage {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly objects: readonly ImportedObject[];
}

export class CocoError extends Error {}

/** The objects of each image in a COCO file. */
export function fromCoco(source: string): ImportedImage[] {
  const { images, annotations, categories = [] } = parse(source);
  const names = new Map(categories.map(({ id, name }) => [id, name]));
  return images.map(({ id, file_name: name, width, height }) => ({
    name,
    width,
    height,
    objects: annotations
      .filter(({ image_id }) => image_id === id)
      .map(({ category_id, segmentation }) => ({
        label: names.get(category_id) ?? "",
        shape: shapeOf(segmentation),
      })),
  }));
}

function parse(source: string): Coco {
  let content: unknown;
  try {
    content = JSON.parse(source);
  } catch {
    throw new CocoError("This file is not JSON. Choose a COCO annotation file.");
  }
  const coco = content as Partial<Coco> | null;
  if (!Array.isArray(coco?.images) || !Array.isArray(coco.annotations)) {
    throw new CocoError("This JSON has no images and annotations. Choose a COCO annotation file.");
  }
  return coco as Coco;
}

function shapeOf(segmentation: CocoAnnotation["segmentation"]): ImportedObject["shape"] {
  if (!segmentation) return { polygons: [] };
  if (!("counts" in segmentation)) return { polygons: segmentation };
  const { size, counts } = segmentation;
  const bytes =
    typeof counts === "string"
      ? new TextEncoder().encode(counts)
      : encodeCounts(Uint32Array.from(counts));
  return { rle: { size, counts: bytes } };
}

function text(counts: Uint8Array): string {
  return new TextDecoder().decode(counts);
}
