/** Pictures: in from anywhere, onto the stage, ahead to the server. */
import { type Opened, SamwireError } from "../../client/index.ts";
import type { Extent } from "../geometry/points.ts";
import { EMPTY_HISTORY, type Picture } from "../state/model.ts";
import { addPicture, changePicture, currentPicture, removePicture } from "../state/pictures.ts";
import type { Context } from "./context.ts";
import { sentence } from "./notices.ts";
import type { Segmenter } from "./segmenter.ts";
import { Thumbnails } from "./thumbnails.ts";

export class Gallery {
  readonly thumbnails = new Thumbnails();
  readonly #urls = new Map<string, string>();
  readonly #prefetched = new Set<string>();

  constructor(
    private readonly context: Context,
    private readonly segmenter: Segmenter,
  ) {}

  /** Take in files; the first new one goes on stage. */
  add(files: readonly { blob: Blob; name: string }[]): void {
    const keys = files.map(({ blob, name }) => {
      const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
      this.context.blobs.set(key, blob);
      void this.thumbnails.add(key, blob);
      this.context.state.update((state) => addPicture(state, key, name));
      return key;
    });
    if (keys[0]) this.show(keys[0]);
  }

  /** The picture's address for an `<img>`. */
  url(key: string): string | null {
    const known = this.#urls.get(key);
    const blob = this.context.blobs.get(key);
    if (known || !blob) return known ?? null;
    const url = URL.createObjectURL(blob);
    this.#urls.set(key, url);
    return url;
  }

  show(key: string): void {
    const { state } = this.context;
    if (state.get().current === key && currentPicture(state.get())?.status.kind !== "closed")
      return;
    this.segmenter.clearHover();
    state.update((now) => ({ ...now, current: key, mark: null }));
    void this.#open(key);
  }

  /** The next or previous picture. */
  step(by: 1 | -1): void {
    const { pictures, current } = this.context.state.get();
    const index = pictures.findIndex(({ key }) => key === current);
    const next = pictures[index + by];
    if (next) this.show(next.key);
  }

  remove(key: string): void {
    const wasCurrent = this.context.state.get().current === key;
    this.context.state.update((state) => removePicture(state, key));
    URL.revokeObjectURL(this.#urls.get(key) ?? "");
    this.#urls.delete(key);
    this.thumbnails.remove(key);
    this.context.blobs.delete(key);
    const { current } = this.context.state.get();
    if (wasCurrent && current) void this.#open(current);
    if (wasCurrent && !current) this.context.client.close().catch(() => {});
  }

  /** The browser could show the picture: its size is known before the server's answer. */
  measured(key: string, width: number, height: number): void {
    const { state } = this.context;
    if (state.get().pictures.find((one) => one.key === key)?.size) return;
    state.update((now) => changePicture(now, key, { size: { width, height } }));
  }

  /** Try again what failed. */
  retry(): void {
    const { current } = this.context.state.get();
    if (current) void this.#open(current);
  }

  /** The picture on stage could not be opened again after the connection was lost. */
  lost(error: unknown): void {
    const { current } = this.context.state.get();
    if (current) this.#failed(current, error);
  }

  /** It could: what its progress said while it was opened again is over. */
  back({ width, height }: Opened): void {
    const { current } = this.context.state.get();
    if (current) this.#opened(current, { width, height });
  }

  async #open(key: string): Promise<void> {
    const blob = this.context.blobs.get(key);
    if (!blob) return;
    for (const { key: other, status } of this.context.state.get().pictures) {
      if (status.kind === "open" || status.kind === "opening")
        this.#set(other, { status: { kind: "closed" } });
    }
    this.#set(key, { status: { kind: "opening", stage: "connect", fraction: null, ahead: 0 } });
    try {
      this.#refuse(blob);
      const { width, height } = await this.context.client.open(
        blob,
        ({ stage, fraction, ahead = 0 }) =>
          this.#set(key, { status: { kind: "opening", stage, fraction, ahead } }),
      );
      this.#opened(key, { width, height });
      this.#prefetchAfter(key);
    } catch (error) {
      this.#failed(key, error);
    }
  }

  /** What the server would not take either. */
  #refuse(blob: Blob): void {
    if (blob.size === 0) throw new SamwireError("bad_image", "Empty.");
    const limit = this.context.client.welcome?.limits.max_image_bytes ?? Number.POSITIVE_INFINITY;
    if (blob.size > limit) throw new SamwireError("image_too_large", "Too large.");
  }

  #opened(key: string, size: Extent): void {
    this.#set(key, { status: { kind: "open" }, size });
    this.segmenter.ensure();
  }

  #failed(key: string, error: unknown): void {
    const picture = this.context.state.get().pictures.find((one) => one.key === key);
    const message = sentence(error, picture?.name);
    const status: Picture["status"] = message ? { kind: "failed", message } : { kind: "closed" };
    this.#set(key, { status });
  }

  #set(key: string, change: Partial<Picture>): void {
    this.context.state.update((state) => changePicture(state, key, change));
  }

  #prefetchAfter(key: string): void {
    const { pictures } = this.context.state.get();
    const next = pictures[pictures.findIndex((one) => one.key === key) + 1];
    const blob = next && this.context.blobs.get(next.key);
    if (!next || !blob || this.#prefetched.has(next.key)) return;
    this.#prefetched.add(next.key);
    // Only a head start: when it fails, opening the picture will say why.
    this.context.client.prefetch(blob).catch(() => this.#prefetched.delete(next.key));
  }
}

/** A picture as it was left: its history starts anew. */
export function restoredPicture(key: string, name: string, size: Picture["size"]): Picture {
  return { key, name, size, status: { kind: "closed" }, history: EMPTY_HISTORY };
}
