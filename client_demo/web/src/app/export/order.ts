/**
 * Exports off the main thread: the page's side of the door.
 *
 * Each has a worker of its own. The one that traces masks stays free for what is clicked meanwhile,
 * and the pictures that were unpacked are given back with the thread.
 */
import type { ExportKind } from "./files.ts";
import type { OutFile, Subject } from "./subject.ts";

export interface Order {
  readonly kind: ExportKind;
  readonly subjects: readonly Subject[];
  readonly classes: readonly string[];
}

/** Objects made so far, or how it ended. */
export type News =
  | { readonly made: number }
  | { readonly file: OutFile }
  | { readonly failed: string };

/** The file ordered; `onProgress` hears the share of the objects that are in it. */
export async function fileOf(
  order: Order,
  onProgress: (fraction: number) => void,
): Promise<OutFile> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const total = order.subjects.reduce((sum, { objects }) => sum + objects.length, 0);
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<News>) => {
        if ("file" in data) resolve(data.file);
        else if ("made" in data) onProgress(data.made / total);
        else reject(new Error(data.failed));
      };
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(order);
    });
  } finally {
    worker.terminate();
  }
}
