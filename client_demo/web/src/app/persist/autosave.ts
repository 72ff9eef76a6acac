/** Every change finds its way to the browser's store within a moment; a reload finds it there. */
import { SamwireError } from "../../client/index.ts";
import { RleError } from "../../client/rle/codec.ts";
import type { Shape } from "../state/masks.ts";
import type { Drawn, Picture, Scene, State } from "../state/model.ts";
import { isPositive } from "../state/scene.ts";
import type { Context } from "../work/context.ts";
import { restoredPicture } from "../work/gallery.ts";
import { sentence } from "../work/notices.ts";
import type { Segmenter } from "../work/segmenter.ts";
import {
  type Database,
  load,
  removePicture,
  type StoredObject,
  type StoredPicture,
  saveBlob,
} from "./database.ts";

const DELAY_MS = 250;

export class Autosave {
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #saved = new Map<string, string>();
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
    this.context.masksVersion.subscribe(() => this.#later());
    addEventListener("pagehide", () => this.flush());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") void this.flush();
    });
  }

  /** Write what changed; one write after the other. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#running = this.#running.then(() => this.#save()).catch((error) => this.#failed(error));
    return this.#running;
  }

  /** Bring back what this workspace held. */
  async restore(segmenter: Segmenter): Promise<void> {
    const { pictures, settings } = await load(this.database, this.workspace);
    const restored: Picture[] = [];
    for (const { picture, blob } of pictures) {
      this.context.blobs.set(picture.key, blob);
      this.#saved.set(picture.key, "");
      restored.push(await this.#revive(picture, segmenter));
    }
    if (this.#damaged > 0) {
      this.context.notices.problem(
        "Some saved masks could not be read. Those that were clicked are asked for again.",
      );
    }
    const {
      workspace: _,
      current: __,
      ...preferences
    } = settings ?? { workspace: "", current: null };
    // What was dropped on the page meanwhile comes last, and stays.
    this.context.state.update((state) => ({
      ...state,
      ...preferences,
      pictures: [...restored, ...state.pictures],
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
    this.#timer = setTimeout(() => void this.flush(), DELAY_MS);
  }

  async #save(): Promise<void> {
    const state = this.context.state.get();
    await this.#saveSettings(state);
    for (const [order, picture] of state.pictures.entries()) {
      // One that cannot be saved must not keep the ones after it from it.
      await this.#savePicture(picture, order).catch((error) => this.#unsaved(picture, error));
    }
    const present = new Set(state.pictures.map(({ key }) => key));
    for (const key of this.#saved.keys()) {
      if (present.has(key)) continue;
      await removePicture(this.database, key);
      this.#saved.delete(key);
    }
  }

  async #saveSettings({ current, classes, brushRadius, opacity, look }: State): Promise<void> {
    const { workspace } = this;
    const settings = { workspace, current, classes, brushRadius, opacity, look };
    await this.database.put("settings", settings);
  }

  async #savePicture(picture: Picture, order: number): Promise<void> {
    const blob = this.context.blobs.get(picture.key);
    const stamp = this.#stamp(picture, order);
    if (!blob || this.#saved.get(picture.key) === stamp) return;
    await saveBlob(this.database, picture.key, blob);
    const { objects, active, nextId } = picture.history.present;
    const { key, name, size } = picture;
    const stored = objects.map((object) => this.#stored(object));
    const { workspace } = this;
    await this.database.put("pictures", {
      ...{ key, workspace, order, name, size, active, nextId },
      objects: stored,
    });
    this.#saved.set(picture.key, stamp);
    if (objects.length > 0) this.#askToStay();
  }

  /** Browsers clear what they did not promise to keep; some ask, so not before there is work. */
  #askToStay(): void {
    if (this.#asked) return;
    this.#asked = true;
    navigator.storage?.persist?.().catch(() => {});
  }

  #stored({ revision, ...object }: Drawn): StoredObject {
    const own = this.context.book.get(revision);
    const shown = this.context.book.shown({ revision, chosen: object.chosen });
    const shapes = own?.status === "ready" ? own.shapes : shown ? [shown] : [];
    const chosen = own?.status === "ready" ? object.chosen : 0;
    return { ...object, chosen, shapes: shapes.map(bare) };
  }

  /** Changes with whatever is stored of a picture, masks included. */
  #stamp({ history, size }: Picture, order: number): string {
    const { objects, active, nextId } = history.present;
    const masks = objects.map(({ revision }) => this.context.book.get(revision)?.status);
    return JSON.stringify([order, size, active, nextId, objects, masks]);
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
