/** Every change finds its way to the browser's store within a moment, new files at once. */
import { SamwireError } from "../../client/index.ts";
import { RleError } from "../../client/rle/codec.ts";
import { endTyping } from "../input/typing.ts";
import type { Shape } from "../state/masks.ts";
import type { Drawn, Picture, Scene } from "../state/model.ts";
import { withPictures } from "../state/pictures.ts";
import { isPositive } from "../state/scene.ts";
import { joined } from "../state/vocabulary.ts";
import type { Context } from "../work/context.ts";
import { restoredPicture } from "../work/gallery.ts";
import { sentence } from "../work/notices.ts";
import type { Segmenter } from "../work/segmenter.ts";
import {
  type Database,
  load,
  type StoredObject,
  type StoredPicture,
  save,
  saveBlob,
} from "./database.ts";

const DELAY_MS = 250;

/** What a stored picture was made from: others mean that it has changed. */
type Stamp = readonly unknown[];

const FILE_ONLY: Stamp = [];
const NO_SETTINGS = { workspace: "", current: null };

export class Autosave {
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Pictures whose file is stored, and what else of them. */
  readonly #saved = new Map<string, Stamp>();
  /** Pictures whose file was on its way to the store at least once. */
  readonly #begun = new Set<string>();
  #running: Promise<void> = Promise.resolve();
  /** Pictures whose file is gone: said once, though each save tries again. */
  readonly #unreadable = new Set<string>();
  #damaged = 0;
  #asked = false;

  constructor(
    private readonly database: Database,
    private readonly workspace: string,
    private readonly context: Context,
  ) {}

  start(): void {
    this.#later(); // what was dropped before now
    this.context.state.subscribe(() => this.#later());
    // A mask was waited for: it is not put at risk for a moment more.
    this.context.masksVersion.subscribe(() => void this.flush());
    addEventListener("pagehide", () => {
      endTyping();
      void this.flush();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") void this.flush();
    });
  }

  /** Write what changed. All but new files is asked for at once: a page being left has no later. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    for (const { key } of this.context.state.get().pictures) this.#begun.add(key);
    const written = this.#write();
    this.#running = Promise.all([written, this.#running]).then(() => this.#saveFiles());
    return this.#running;
  }

  /** Bring back what this workspace held. */
  async restore(segmenter: Segmenter): Promise<void> {
    const { pictures, settings } = await load(this.database, this.workspace);
    const restored: Picture[] = [];
    for (const { picture, blob } of pictures) {
      this.context.blobs.set(picture.key, blob);
      this.#saved.set(picture.key, FILE_ONLY);
      restored.push(await this.#revive(picture, segmenter));
    }
    if (this.#damaged > 0) {
      this.context.notices.problem(
        "Some saved masks could not be read. Those that were clicked are asked for again.",
      );
    }
    const { workspace: _, current: __, ...preferences } = settings ?? NO_SETTINGS;
    // What was dropped on the page and named meanwhile comes last, and stays.
    this.context.state.update((state) => ({
      ...state,
      ...preferences,
      ...joined(settings ?? {}, state),
      pictures: withPictures(restored, state.pictures),
    }));
  }

  /** The picture that was on stage, once the others are back. */
  async lastShown(): Promise<string | null> {
    return (await this.database.get("settings", this.workspace))?.current ?? null;
  }

  async #revive(stored: StoredPicture, segmenter: Segmenter): Promise<Picture> {
    const objects = await Promise.all(
      stored.objects.map((one) => this.#reviveObject(one, segmenter)),
    );
    const present: Scene = { objects, active: stored.active, nextId: stored.nextId };
    const picture = restoredPicture(stored.key, stored.name, stored.size);
    return { ...picture, history: { ...picture.history, present } };
  }

  async #reviveObject({ shapes, ...object }: StoredObject, segmenter: Segmenter): Promise<Drawn> {
    const traced = await Promise.all(
      shapes.map(({ rle, score }) => segmenter.shape(rle, score)),
    ).catch((error) => this.#unread(error));
    const entry = { prompts: object.prompts, from: null, shapes: traced, reply: null };
    // Failed ones are asked for again, which takes prompts to ask with.
    const status = traced.length === 0 && isPositive(object.prompts) ? "failed" : "ready";
    return { ...object, revision: this.context.book.next({ ...entry, status }) };
  }

  /** Only a damaged mask may be given up: whatever else went wrong, the next save would lose it. */
  #unread(error: unknown): Shape[] {
    if (!(error instanceof RleError)) throw error;
    this.#damaged += 1;
    return [];
  }

  #later(): void {
    clearTimeout(this.#timer);
    // Without its file, whatever is made of a new picture meanwhile would be lost with the page.
    const { pictures } = this.context.state.get();
    const delayMs = pictures.every(({ key }) => this.#begun.has(key)) ? DELAY_MS : 0;
    this.#timer = setTimeout(() => void this.flush(), delayMs);
  }

  async #write(): Promise<void> {
    const { workspace } = this;
    const { pictures, current, classes, imported, numbers, ...state } = this.context.state.get();
    const { brushRadius, opacity, look, colors } = state;
    const preferences = { brushRadius, opacity, look, colors };
    const present = new Set(pictures.map(({ key }) => key));
    const gone = [...this.#saved.keys()].filter((key) => !present.has(key));
    const changed = pictures
      .map((picture, order) => ({ picture, order, stamp: this.#stamp(picture, order) }))
      .filter(({ picture, stamp }) => this.#isStale(picture.key, stamp));
    try {
      await save(this.database, {
        settings: { workspace, current, classes, imported, numbers, ...preferences },
        pictures: changed.map(({ picture, order }) => this.#storedPicture(picture, order)),
        gone,
      });
    } catch (error) {
      return this.#failed(error);
    }
    for (const { picture, stamp } of changed) this.#saved.set(picture.key, stamp);
    for (const key of gone) this.#saved.delete(key);
    if (changed.some(({ picture }) => picture.history.present.objects.length > 0)) {
      this.#askToStay();
    }
  }

  /** The files of new pictures, that of the one on stage first, and what was made of them. */
  async #saveFiles(): Promise<void> {
    const { pictures, current } = this.context.state.get();
    const fresh = pictures.filter(({ key }) => !this.#saved.has(key));
    fresh.sort((a, b) => Number(b.key === current) - Number(a.key === current));
    for (const picture of fresh) {
      // One that cannot be saved must not keep the ones after it from it.
      await this.#saveFile(picture).catch((error) => this.#unsaved(picture, error));
    }
  }

  async #saveFile({ key }: Picture): Promise<void> {
    const blob = this.context.blobs.get(key);
    if (!blob) return; // removed meanwhile
    await saveBlob(this.database, key, blob);
    this.#saved.set(key, FILE_ONLY);
    await this.#write();
  }

  /** Browsers clear what they did not promise to keep; some ask, so not before there is work. */
  #askToStay(): void {
    if (this.#asked) return;
    this.#asked = true;
    navigator.storage?.persist?.().catch(() => {});
  }

  #storedPicture({ key, name, size, history }: Picture, order: number): StoredPicture {
    const { objects, active, nextId } = history.present;
    const stored = objects.map((object) => this.#stored(object));
    const { workspace } = this;
    return { key, workspace, order, name, size, active, nextId, objects: stored };
  }

  #stored({ revision, ...object }: Drawn): StoredObject {
    const own = this.context.book.get(revision);
    const shown = this.context.book.shown({ revision, chosen: object.chosen });
    const shapes = own?.status === "ready" ? own.shapes : shown ? [shown] : [];
    const chosen = own?.status === "ready" ? object.chosen : 0;
    return { ...object, chosen, shapes: shapes.map(bare) };
  }

  #stamp({ history: { present }, size }: Picture, order: number): Stamp {
    const masks = present.objects.map(({ revision }) => this.context.book.get(revision)?.status);
    return [order, size, present, ...masks];
  }

  /** Not before its file is stored: without that a picture is not brought back. */
  #isStale(key: string, stamp: Stamp): boolean {
    const saved = this.#saved.get(key);
    if (!saved) return false;
    return saved.length !== stamp.length || saved.some((one, index) => one !== stamp[index]);
  }

  #unsaved({ key, name }: Picture, error: unknown): void {
    if (!(error instanceof SamwireError)) return this.#failed(error);
    if (!this.#unreadable.has(key)) this.context.notices.problem(sentence(error, name)!);
    this.#unreadable.add(key);
  }

  #failed(error: unknown): void {
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    this.context.notices.problem(
      full
        ? "The browser's storage is full, so changes are not saved. Export, then remove some pictures."
        : "Changes could not be saved in this browser. Export before you leave the page.",
    );
  }
}

function bare({ traced, score }: Shape) {
  return { rle: traced.rle, score };
}
