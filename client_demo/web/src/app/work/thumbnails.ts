/** Small pictures of the pictures: a strip of originals would hold every one of them decoded. */
import { Store } from "../state/store.ts";

/** Twice what the strip shows, for dense screens. */
const WIDTH = 132;

export class Thumbnails {
  /** Addresses by key, as they get ready; null of what cannot be drawn. */
  readonly urls = new Store<ReadonlyMap<string, string | null>>(new Map());

  async add(key: string, blob: Blob): Promise<void> {
    const url = await shrink(blob).catch(() => null);
    this.urls.update((urls) => new Map(urls).set(key, url));
  }

  remove(key: string): void {
    URL.revokeObjectURL(this.urls.get().get(key) ?? "");
    this.urls.update((urls) => new Map([...urls].filter(([other]) => other !== key)));
  }
}

async function shrink(blob: Blob): Promise<string> {
  const bitmap = await createImageBitmap(blob, { resizeWidth: WIDTH, resizeQuality: "medium" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  return URL.createObjectURL(await canvas.convertToBlob({ type: "image/webp" }));
}
