/**
 * Exports off the main thread: the page's side of the door.
 *
 * Each has a worker of its own. The one that traces masks stays free for what is clicked meanwhile,
 * and the pictures that were unpacked are given back with the thread. Its script comes with the
 * page: work can be taken out of it when the server is gone.
 */
import type { Category } from "../state/numbers.ts";
import type { ExportKind } from "./files.ts";
import { ExportError, type OutFile, type Subject } from "./subject.ts";
import ExportWorker from "./worker.ts?worker&inline";

export interface Order {
  readonly kind: ExportKind;
  readonly subjects: readonly Subject[];
  /** For COCO: every name and its number. */
  readonly categories: readonly Category[];
}

/** The file ordered, and the pictures of which nothing could be made. */
export interface Delivery {
  readonly file: OutFile;
  readonly skipped: readonly string[];
}

/** Objects made so far, or how it ended. */
export type News =
  | { readonly made: number }
  | Delivery
  | { readonly refused: string }
  | { readonly failed: string };

/** `onProgress` hears the share of the objects that are in the file; null once `signal` ended it. */
export async function fileOf(
  order: Order,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Delivery | null> {
  const worker = new ExportWorker();
  const total = order.subjects.reduce((sum, { objects }) => sum + objects.length, 0);
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<News>) => {
        if ("file" in data) resolve(data);
        else if ("made" in data) onProgress(data.made / total);
        else if ("refused" in data) reject(new ExportError(data.refused));
        else reject(new Error(data.failed));
      };
      signal.addEventListener("abort", () => resolve(null));
      worker.onerror = ({ message }) => reject(message ? new Error(message) : notStarted());
      worker.postMessage(order);
    });
  } finally {
    worker.terminate();
  }
}

/** Only a script that ran can say what broke in it. */
function notStarted(): ExportError {
  const words =
    "This browser could not start the export. Close some other tabs, then export again.";
  return new ExportError(words);
}
