/** Out of the page and in again: exports as downloads, COCO files as objects. */
import { CocoError, fromCoco, type ImportedImage, type ImportedObject } from "../export/coco.ts";
import type { ExportKind } from "../export/files.ts";
import { fileOf } from "../export/order.ts";
import { type OutFile, type Subject, stem } from "../export/subject.ts";
import type { Extent } from "../geometry/points.ts";
import type { Shape } from "../state/masks.ts";
import type { Picture } from "../state/model.ts";
import { Store } from "../state/store.ts";
import type { Actions } from "./actions.ts";
import type { Context } from "./context.ts";

/** An export that takes longer says how far it is. */
const SLOW_MS = 1000;

export class Exchange {
  /** How much of a slow export is done; null while there is none. */
  readonly progress = new Store<number | null>(null);
  #exports: Promise<void> = Promise.resolve();

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
    if (subjects.length === 0) {
      this.context.notices.info("There is nothing to export yet. Click an object first.");
      return this.#exports;
    }
    this.#exports = this.#exports.then(() => this.#save(kind, subjects));
    return this.#exports;
  }

  async #save(kind: ExportKind, subjects: readonly Subject[]): Promise<void> {
    let done = 0;
    const patience = setTimeout(() => this.progress.set(done), SLOW_MS);
    try {
      const { classes } = this.context.state.get();
      const file = await fileOf({ kind, subjects, classes }, (fraction) => {
        done = fraction;
        this.progress.update((shown) => (shown === null ? null : fraction));
      });
      download(file);
      this.context.notices.info(`Saved ${file.name}.`);
    } catch {
      this.context.notices.problem(
        "The export failed. Try another format, or fewer pictures at once.",
      );
    } finally {
      clearTimeout(patience);
      this.progress.set(null);
    }
  }

  /** Add a COCO file's objects to the pictures of the same names. */
  async load(file: Blob): Promise<void> {
    try {
      const images = fromCoco(await file.text());
      const count = await this.#adopt(images);
      this.context.notices.info(count > 0 ? `Imported ${count} objects.` : notFound(images));
    } catch (error) {
      const known = error instanceof CocoError;
      this.context.notices.problem(
        known ? error.message : "This COCO file holds a mask that cannot be read.",
      );
    }
  }

  async #adopt(images: readonly ImportedImage[]): Promise<number> {
    let count = 0;
    for (const { key, name, size } of this.context.state.get().pictures) {
      const image = images.find((one) => stem(one.name) === stem(name));
      if (!image || !size) continue;
      if (image.width !== size.width || image.height !== size.height) {
        throw new CocoError(`The file describes a ${name} of another size. Open that one first.`);
      }
      const objects = image.objects.map(async (object) => ({
        label: object.label,
        shape: await this.#shape(object, size),
      }));
      this.actions.adopt(key, await Promise.all(objects));
      count += objects.length;
    }
    return count;
  }

  async #shape({ shape }: ImportedObject, { width, height }: Extent): Promise<Shape> {
    const { worker } = this.context;
    if ("rle" in shape) return { traced: await worker.run("trace", shape.rle), score: null };
    const parts = shape.polygons.map((ring) => [ring]);
    return { traced: await worker.run("fill", { width, height }, parts), score: null };
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

function notFound(images: readonly ImportedImage[]): string {
  const wanted = images[0]?.name ?? "its picture";
  return `Open ${wanted} first, then import the file again.`;
}

function download({ name, bytes, type }: OutFile): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  // Some browsers read the address only after this task.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
