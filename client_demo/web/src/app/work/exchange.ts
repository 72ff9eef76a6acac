/** Out of the page and in again: exports as downloads, COCO files as objects. */
import { bytesOf, SamwireError } from "../../client/index.ts";
import { CocoError, fromCoco, type ImportedImage, type ImportedObject } from "../export/coco.ts";
import type { ExportKind } from "../export/files.ts";
import { fileOf } from "../export/order.ts";
import { ExportError, type OutFile, type Subject, stem, UNNAMED } from "../export/subject.ts";
import type { Extent } from "../geometry/points.ts";
import { commit } from "../state/history.ts";
import type { Shape } from "../state/masks.ts";
import type { Picture } from "../state/model.ts";
import { type Category, withCategories, withNames } from "../state/numbers.ts";
import { changePicture, importClasses } from "../state/pictures.ts";
import { changeObject } from "../state/scene.ts";
import { Store } from "../state/store.ts";
import type { Actions } from "./actions.ts";
import { type Comparison, compared, type Here, type Named } from "./comparison.ts";
import type { Context } from "./context.ts";
import { counted, sentence } from "./notices.ts";

/** An export that takes longer says how far it is. */
const SLOW_MS = 1000;

/** A picture that a COCO file knows, and what it says of it. */
interface Match extends Comparison {
  readonly key: string;
  readonly image: ImportedImage;
  /** How many more it says that are no more than a box, or nothing at all. */
  readonly maskless: number;
}

export class Exchange {
  /** How much of a slow export is done; null while there is none. */
  readonly progress = new Store<number | null>(null);
  #exports: Promise<void> = Promise.resolve();
  #imports: Promise<void> = Promise.resolve();
  #running = new AbortController();

  constructor(
    private readonly context: Context,
    private readonly actions: Actions,
  ) {}

  /** Pictures that have something to export. */
  subjects(): Subject[] {
    return this.context.state.get().pictures.flatMap((picture) => this.#subject(picture) ?? []);
  }

  /** One export after the other: each may fill the memory there is. */
  save(kind: ExportKind): Promise<void> {
    const subjects = this.subjects();
    const waiting = this.#waiting();
    if (subjects.length > 0) {
      this.#exports = this.#exports.then(() => this.#save(kind, subjects, waiting));
    } else {
      const nothing = "There is nothing to export yet.";
      this.context.notices.info(`${nothing} ${stillWaiting(waiting) ?? "Click an object first."}`);
    }
    return this.#exports;
  }

  /** End the export that is being made; one that waits for it comes next. */
  cancel(): void {
    this.#running.abort();
  }

  /** How many objects have no mask yet, or one that is about to change. */
  #waiting(): number {
    const { book, state } = this.context;
    const objects = state.get().pictures.flatMap(({ history }) => history.present.objects);
    return objects.filter(({ revision }) => book.get(revision)?.status !== "ready").length;
  }

  async #save(kind: ExportKind, subjects: readonly Subject[], waiting: number): Promise<void> {
    let done = 0;
    const patience = setTimeout(() => this.progress.set(done), SLOW_MS);
    this.#running = new AbortController();
    try {
      const categories = kind === "coco" ? this.#categories(subjects) : [];
      const onProgress = (fraction: number) => {
        done = fraction;
        this.progress.update((shown) => (shown === null ? null : fraction));
      };
      const { signal } = this.#running;
      const delivery = await fileOf({ kind, subjects, categories }, onProgress, signal);
      if (!delivery) return;
      download(delivery.file);
      this.#saved(delivery.file, [unshown(delivery.skipped), stillWaiting(waiting)]);
    } catch (error) {
      const words = "The export failed. Try another format, or fewer pictures at once.";
      this.context.notices.problem(error instanceof ExportError ? error.message : words);
    } finally {
      clearTimeout(patience);
      this.progress.set(null);
    }
  }

  /** The list, used or not, and whatever else is borne: from now on the numbers are theirs. */
  #categories(subjects: readonly Subject[]): Category[] {
    const { state } = this.context;
    const labels = subjects.flatMap(({ objects }) => objects.map(({ label }) => label || UNNAMED));
    const names = new Set([...state.get().classes, ...labels]);
    const numbers = withNames(state.get().numbers, names);
    state.update((now) => ({ ...now, numbers }));
    const categories = [...names].map((name) => ({ id: numbers.get(name)!, name }));
    return categories.sort((a, b) => a.id - b.id);
  }

  /** What is not in the file is a problem, lest it be missed. */
  #saved({ name }: OutFile, lacks: readonly (string | null)[]): void {
    const words = [`Saved ${name}.`, ...lacks.filter((one) => one !== null)];
    this.context.notices[words.length > 1 ? "problem" : "info"](words.join(" "));
  }

  /** Add a COCO file's objects to the pictures of the same names; the next one knows of them. */
  load(file: File): Promise<void> {
    this.#imports = this.#imports.then(() => this.#load(file));
    return this.#imports;
  }

  async #load(file: File): Promise<void> {
    try {
      const { images, categories } = fromCoco(new TextDecoder().decode(await bytesOf(file)));
      const matches = await this.#matches(images);
      for (const { key, fresh, renamed } of matches) {
        this.#rename(key, renamed);
        this.actions.adopt(key, fresh);
      }
      if (matches.length > 0) this.#number(categories);
      this.#imported(images, matches);
    } catch (error) {
      this.context.notices.problem(whyNot(error, file));
    }
  }

  /** A step of its own: whoever meant the name that was here takes it back. */
  #rename(key: string, named: readonly Named[]): void {
    const { state } = this.context;
    const picture = state.get().pictures.find((one) => one.key === key);
    if (!picture || named.length === 0) return;
    const { history } = picture;
    const scene = named.reduce(
      (before, { id, label }) => changeObject(before, id, { label }),
      history.present,
    );
    const labels = named.map(({ label }) => label);
    state.update((now) =>
      importClasses(changePicture(now, key, { history: commit(history, scene) }), labels),
    );
  }

  #number(categories: readonly Category[]): void {
    this.context.state.update((now) => {
      return { ...now, numbers: withCategories(now.numbers, categories) };
    });
  }

  #imported(images: readonly ImportedImage[], matches: readonly Match[]): void {
    const sum = (count: (match: Match) => number) =>
      matches.reduce((total, match) => total + count(match), 0);
    const added = sum(({ fresh }) => fresh.length);
    const reached = matches.filter(({ fresh }) => fresh.length > 0).length;
    const renamed = sum((match) => match.renamed.length);
    const known = sum((match) => match.known);
    const maskless = sum((match) => match.maskless);
    if (added + renamed + known + maskless === 0) {
      return this.context.notices.info(nothingFor(images, matches));
    }
    const missing = images.length - matches.length;
    const words = [
      added > 0
        ? `Imported ${counted(added, "object")} into ${counted(reached, "picture")}.`
        : null,
      renamed > 0 ? `Renamed ${counted(renamed, "object")} as in the file.` : null,
      added + renamed === 0 ? (known > 0 ? "Nothing new:" : "Nothing imported.") : null,
      known > 0 ? hereAlready(known) : null,
      maskless > 0 ? `Left out ${counted(maskless, "annotation")} without a mask.` : null,
      missing > 0 ? `${counted(missing, "file name")} not found here.` : null,
    ];
    const text = words.filter((one) => one !== null).join(" ");
    this.context.notices[maskless > 0 ? "problem" : "info"](text);
  }

  /** All of them before the first is adopted: a file that is wrong half-way changes nothing. */
  async #matches(images: readonly ImportedImage[]): Promise<Match[]> {
    const matches: Match[] = [];
    const { pictures } = this.context.state.get();
    const pairs = paired(pictures, images);
    for (const picture of pictures) {
      const image = pairs.get(picture.key);
      const size = image && (picture.size ?? (await this.#measure(picture.key)));
      if (!image || !size) continue;
      if (image.width !== size.width || image.height !== size.height) throw otherSize(picture);
      const objects = image.objects.map(async (object) => ({
        label: object.label,
        shape: await this.#shape(object, size, picture),
      }));
      const read = await Promise.all(objects);
      const masks = read.filter(({ shape }) => shape.traced.area > 0);
      const maskless = read.length - masks.length;
      matches.push({
        key: picture.key,
        image,
        ...compared(this.#objectsOf(picture), masks),
        maskless,
      });
    }
    return matches;
  }

  #objectsOf({ history }: Picture): Here[] {
    return history.present.objects.flatMap((object) => {
      const shape = this.context.book.shown(object);
      return shape ? [{ id: object.id, label: object.label, shape }] : [];
    });
  }

  /** Pictures that were not looked at yet have no size; what the browser cannot show has none here. */
  async #measure(key: string): Promise<Extent | null> {
    const bitmap = await createImageBitmap(this.context.blobs.get(key)!).catch(() => null);
    if (!bitmap) return null;
    const size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
    this.context.state.update((state) => changePicture(state, key, { size }));
    return size;
  }

  async #shape({ shape }: ImportedObject, size: Extent, picture: Picture): Promise<Shape> {
    const { worker } = this.context;
    if ("polygons" in shape) {
      const parts = shape.polygons.map((ring) => [ring]);
      return { traced: await worker.run("fill", size, parts), score: null };
    }
    const [height, width] = shape.rle.size;
    if (width !== size.width || height !== size.height) throw otherSize(picture);
    return { traced: await worker.run("trace", shape.rle), score: null };
  }

  #subject({ key, name, size, history }: Picture): Subject | null {
    const blob = this.context.blobs.get(key);
    if (!size || !blob) return null;
    const objects = history.present.objects.flatMap((object) => {
      const shape = this.context.book.shown(object);
      if (!shape || shape.traced.area === 0) return [];
      const { id, label, color } = object;
      const { rle, area, bbox } = shape.traced;
      return [{ id, label, color, rle, area, bbox, score: shape.score }];
    });
    return objects.length > 0 ? { name, blob, ...size, objects } : null;
  }
}

/**
 * Which image of the file each picture is, by key: of its whole name, or else of its stem, since
 * `a.png` and `a.jpg` may be two pictures, or one that was converted.
 */
function paired(pictures: readonly Picture[], images: readonly ImportedImage[]) {
  const pairs = new Map<string, ImportedImage>();
  for (const nameOf of [baseName, stem]) {
    const taken = new Set(pairs.values());
    const left = new Map(
      images.filter((one) => !taken.has(one)).map((one) => [nameOf(one.name), one]),
    );
    for (const { key, name } of pictures) {
      const image = pairs.has(key) ? undefined : left.get(nameOf(name));
      if (image) pairs.set(key, image);
      left.delete(nameOf(name));
    }
  }
  return pairs;
}

function baseName(name: string): string {
  return name.replace(/^.*[/\\]/, "");
}

function otherSize({ name }: Picture): CocoError {
  return new CocoError(`The file describes a ${name} of another size. Open that one first.`);
}

function whyNot(error: unknown, { name }: File): string {
  if (error instanceof CocoError) return error.message;
  const words = error instanceof SamwireError ? sentence(error, name) : null;
  return words ?? "This COCO file holds a mask that cannot be read.";
}

function hereAlready(count: number): string {
  return `${count} ${count === 1 ? "was" : "were"} here already.`;
}

function nothingFor(images: readonly ImportedImage[], matches: readonly Match[]): string {
  const wanted = images.find((one) => !matches.some(({ image }) => image === one));
  if (!wanted) return "This file holds no objects.";
  return `Open ${wanted.name} first, then import the file again.`;
}

function stillWaiting(count: number): string | null {
  if (count === 0) return null;
  return count === 1
    ? "1 object still waits for its mask. Look at its picture, then export again."
    : `${count} objects still wait for their masks. Look at their pictures, then export again.`;
}

function unshown(names: readonly string[]): string | null {
  if (names.length === 0) return null;
  return `Without ${names.join(", ")}, which this browser cannot show.`;
}

function download({ name, bytes, type }: OutFile): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  // Some browsers read the address only after this task.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
