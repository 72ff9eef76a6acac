/** Sentences for the user: what happened and what to do. */
import { SamwireError } from "../../client/errors.ts";
import { Store } from "../state/store.ts";

export interface Notice {
  readonly id: number;
  readonly kind: "info" | "problem";
  readonly text: string;
}

const SHOWN_MS = { info: 4000, problem: 9000 };

export class Notices {
  readonly list = new Store<readonly Notice[]>([]);
  #last = 0;

  info(text: string): void {
    this.#add("info", text);
  }

  problem(text: string): void {
    this.#add("problem", text);
  }

  /** An error in words; what undo, a newer click or a reconnect deals with says nothing. */
  failure(error: unknown): void {
    const text = sentence(error);
    if (text) this.problem(text);
  }

  dismiss(id: number): void {
    this.list.update((all) => all.filter((notice) => notice.id !== id));
  }

  #add(kind: Notice["kind"], text: string): void {
    if (this.list.get().some((notice) => notice.text === text)) return;
    this.#last += 1;
    const id = this.#last;
    this.list.update((all) => [...all.slice(-2), { id, kind, text }]);
    setTimeout(() => this.dismiss(id), SHOWN_MS[kind]);
  }
}

/** `1 object`, `2 objects`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

const QUIET = new Set(["superseded", "connection_lost", "not_open"]);

const SENTENCES: Record<string, string> = {
  bad_image:
    "This file could not be read as a picture. Try a JPEG, PNG or WebP, or save it again in an image editor.",
  image_too_large:
    "This file is larger than the server accepts. Save it smaller and drop it again.",
  too_many_pixels:
    "This picture has more pixels than the server accepts. Scale it down and try again.",
  sha256_mismatch: "The picture changed on its way to the server. Open it again.",
  upload_stalled: "The upload stopped half-way. Check the network, then open the picture again.",
  no_positive_prompt: "Add a click on the object first; excluding alone selects nothing.",
  mask_too_complex:
    "This mask has too many small pieces. Draw a box around less, or zoom in and click.",
  busy: "That was faster than the server can follow. Wait a moment, then click again.",
  rate_limited: "That was faster than the server allows. Wait a moment, then click again.",
  overload: "The server has no room for this right now. Try again in a few seconds.",
  timeout: "The server took too long. Click again.",
  internal: "Something broke on the server. Click again; if it stays, its log says more.",
  unsupported: "This server cannot start from an existing mask. Undo, and click without it.",
  unauthorized: "The server asks for a valid token. Open the page by the link you were given.",
  forbidden_origin: "The server does not accept this page's address. Open it at the server's own.",
  abuse: "The server ended the connection because too much was asked of it. Reload the page.",
  version: "This page and the server are of different versions. Reload the page.",
  stopped: "The connection was ended. Reload the page to go on.",
  unreachable: "That picture could not be fetched. Check the network and try again.",
  full: "The server is full, or still loading. Trying again.",
  restarting: "The server restarts. Trying again.",
};

/** `file`: the one it happened with, where it is known. */
export function sentence(error: unknown, file = "The file"): string | null {
  if (!(error instanceof SamwireError)) {
    return "Something unexpected happened. Your work is saved; reload the page if it stays.";
  }
  if (QUIET.has(error.code)) return null;
  if (error.code === "unreadable") return `${file} could not be read. Choose it again.`;
  return SENTENCES[error.code] ?? `${error.message} (${error.code})`;
}
