/** COCO instance annotations, masks as compressed RLE, which keeps holes and every pixel. */
import type { Rle } from "../../client/index.ts";
import { encodeCounts } from "../../client/rle/codec.ts";
import type { Category } from "../state/numbers.ts";
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
  readonly categories: readonly (Category & { supercategory?: string })[];
  readonly annotations: readonly CocoAnnotation[];
}

/** `categories`: one of every name that is borne, and unnamed objects bear one, too. */
export function toCoco(subjects: readonly Subject[], categories: readonly Category[]): Coco {
  const numbers = new Map(categories.map(({ id, name }) => [name, id]));
  const annotations = subjects.flatMap(({ objects }, image) =>
    objects.map((object) => ({
      image_id: image + 1,
      category_id: numbers.get(object.label || UNNAMED)!,
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
    categories: categories.map((category) => ({ ...category, supercategory: "" })),
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

/** Many readers take numbers for 32 bits, and after the largest there must be more. */
const MAX_NUMBER = 2 ** 31 - 1;

export class CocoError extends Error {}

export interface Imported {
  readonly images: readonly ImportedImage[];
  /** Those that a number can be taken over from. */
  readonly categories: readonly Category[];
}

/** The objects of each image in a COCO file, and its names by number. */
export function fromCoco(source: string): Imported {
  const { images, annotations, categories } = parse(source);
  const names = new Map(categories.map(({ id, name }) => [id, name]));
  const byImage = new Map<number, CocoAnnotation[]>(images.map(({ id }) => [id, []]));
  for (const annotation of annotations) byImage.get(annotation.image_id)?.push(annotation);
  return {
    images: images.map(({ id, file_name: name, width, height }) => ({
      name,
      width,
      height,
      objects: byImage.get(id)!.map(({ category_id, segmentation }) => ({
        label: names.get(category_id) ?? "",
        shape: shapeOf(segmentation),
      })),
    })),
    categories: categories.filter(
      ({ id }) => Number.isSafeInteger(id) && id >= 0 && id <= MAX_NUMBER,
    ),
  };
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
  // Some tools leave them out, or without names.
  const categories = Array.isArray(coco.categories) ? coco.categories : [];
  return { ...(coco as Coco), categories: categories.filter((one) => isNamed(one)) };
}

function isNamed(category: Partial<Category> | null): boolean {
  return typeof category?.name === "string" && category.name !== "";
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
