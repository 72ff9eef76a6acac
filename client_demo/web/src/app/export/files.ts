/** Every kind of export, as files; several travel in one zip. Slow for large pictures: run in a worker. */
import { type ZippableFile, zipSync } from "fflate";
import { paintRows } from "../../client/rle/raster.ts";
import { columnSpans, fromRle } from "../../client/rle/runs.ts";
import { freeName } from "../state/names.ts";
import type { Category } from "../state/numbers.ts";
import { toCoco } from "./coco.ts";
import { toGeoJson } from "./geojson.ts";
import { indexedPng, maskPng, type Rgb } from "./png.ts";
import {
  ExportError,
  type ExportObject,
  fileSafe,
  jsonFile,
  type OutFile,
  type Subject,
  stem,
  UNNAMED,
} from "./subject.ts";

export type ExportKind = "coco" | "masks" | "indexed" | "cutouts" | "polygons";

export interface ExportContext {
  /** For COCO: every name and its number. */
  readonly categories: readonly Category[];
  /** That many more objects are in their files. */
  readonly done: (count: number) => void;
  /** Nothing can be made of the picture of this name. */
  readonly skipped: (name: string) => void;
}

type Exporter = (subjects: readonly Subject[], context: ExportContext) => Promise<OutFile[]>;

const PNG = "image/png";
/** One byte a pixel, and 0 is nothing. */
const MAX_INDEX = 255;

export const EXPORTERS: Record<ExportKind, Exporter> = {
  coco: async (subjects, { categories }) => [
    jsonFile(
      `${subjects.length === 1 ? stem(subjects[0]!.name) : "samwire"}.coco.json`,
      toCoco(subjects, categories),
    ),
  ],
  masks: async (subjects, context) => subjects.flatMap((one) => maskFiles(one, context)),
  indexed: async (subjects, context) => subjects.map((one) => indexedFile(one, context)),
  cutouts: async (subjects, context) => {
    const files: OutFile[] = [];
    // One after the other: an unpacked picture takes four bytes a pixel.
    for (const subject of subjects) files.push(...(await cutoutFiles(subject, context)));
    if (files.length === 0) throw new ExportError("This browser can show none of these pictures.");
    return files;
  },
  polygons: async (subjects, context) => subjects.map((one) => polygonsFile(one, context)),
};

/** One file as it is, several as a zip; PNGs are compressed already. */
export function bundle(files: readonly OutFile[], kind: ExportKind): OutFile {
  if (files.length === 1) return files[0]!;
  const entries: Record<string, ZippableFile> = {};
  const taken = new Set<string>();
  for (const { name, bytes, type } of files) {
    // Pictures of one stem must not overwrite each other.
    const free = freeName(name, { has: (one) => taken.has(folded(one)) });
    taken.add(folded(free));
    entries[free] = [bytes, { level: type === PNG ? 0 : 6 }];
  }
  const bytes = zipSync(entries) as Uint8Array<ArrayBuffer>;
  return { name: `samwire-${kind}.zip`, bytes, type: "application/zip" };
}

/** Some file systems take names for one that differ in case, or in how an accent is written. */
function folded(name: string): string {
  return name.normalize().toLowerCase();
}

function fileName(subject: Subject, object: ExportObject, suffix = ""): string {
  const number = String(subject.objects.indexOf(object) + 1).padStart(2, "0");
  return `${stem(subject.name)}-${number}-${fileSafe(object.label || UNNAMED)}${suffix}.png`;
}

function maskFiles(subject: Subject, { done }: ExportContext): OutFile[] {
  return subject.objects.map((object) => {
    const bytes = maskPng(fromRle(object.rle));
    done(1);
    return { name: fileName(subject, object), bytes, type: PNG };
  });
}

function polygonsFile(subject: Subject, { done }: ExportContext): OutFile {
  const file = jsonFile(`${stem(subject.name)}.geojson`, toGeoJson(subject));
  done(subject.objects.length);
  return file;
}

/** Later objects lie on top; index 0 is nothing, index n the nth object. */
function indexedFile(subject: Subject, { done }: ExportContext): OutFile {
  const { objects } = subject;
  if (objects.length > MAX_INDEX) {
    throw new ExportError(
      `${subject.name} has ${objects.length} objects, and an indexed PNG holds ${MAX_INDEX}. Export PNG masks instead.`,
    );
  }
  const rows = new Uint8Array(subject.width * subject.height);
  for (const [index, { rle }] of objects.entries()) paintRows(fromRle(rle), rows, index + 1);
  const palette: Rgb[] = [[0, 0, 0], ...objects.map(({ color }) => rgb(color))];
  const bytes = indexedPng(subject, rows, palette);
  done(objects.length);
  return { name: `${stem(subject.name)}.index.png`, bytes, type: PNG };
}

async function cutoutFiles(subject: Subject, { done, skipped }: ExportContext): Promise<OutFile[]> {
  const picture = await createImageBitmap(subject.blob).catch(() => null);
  if (!picture) {
    skipped(subject.name);
    done(subject.objects.length);
    return [];
  }
  const files: OutFile[] = [];
  for (const object of subject.objects) {
    if (object.area > 0) files.push(await cutout(subject, object, picture));
    done(1);
  }
  picture.close();
  return files;
}

/** The object's own pixels, cropped to its box, everything else transparent. */
async function cutout(
  subject: Subject,
  object: ExportObject,
  picture: ImageBitmap,
): Promise<OutFile> {
  const [x, y, width, height] = object.bbox;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  context.drawImage(picture, -x, -y, subject.width, subject.height);
  const pixels = context.getImageData(0, 0, width, height);
  const shown = new Uint32Array(pixels.data.buffer);
  const own = shown.slice();
  shown.fill(0);
  for (const [column, y0, y1] of columnSpans(fromRle(object.rle))) {
    for (let row = y0; row < y1; row++) {
      const at = (row - y) * width + column - x;
      shown[at] = own[at]!; // as transparent as it was
    }
  }
  context.putImageData(pixels, 0, 0);
  const blob = await canvas.convertToBlob({ type: PNG });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return { name: fileName(subject, object, "-cutout"), bytes, type: PNG };
}

function rgb(color: string): Rgb {
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
