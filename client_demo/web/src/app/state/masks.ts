/**
 * The masks of every revision: undo looks them up again instead of asking the server.
 *
 * An entry whose mask has not come yet shows what it was made from, so nothing flickers.
 */
import type { MaskReply, Prior, Traced } from "../../client/index.ts";
import type { Prompts, Revision } from "./model.ts";
import { extendsPrompts } from "./scene.ts";

export interface Shape {
  readonly traced: Traced;
  /** The predicted IoU; null for masks nobody predicted. */
  readonly score: number | null;
}

export interface Origin {
  readonly revision: Revision;
  readonly chosen: number;
}

export interface Entry {
  readonly status: "pending" | "ready" | "failed";
  readonly prompts: Prompts;
  readonly from: Origin | null;
  /** The last mask before this that was edited, imported or restored: clicks go on from there. */
  readonly root: Origin | null;
  readonly shapes: readonly Shape[];
  /** Null for edited, imported and restored masks: the server knows nothing of those. */
  readonly reply: MaskReply | null;
}

export class MaskBook {
  readonly #entries = new Map<Revision, Entry>();
  #last: Revision = 0;

  next(entry: Omit<Entry, "root">): Revision {
    this.#last += 1;
    this.#entries.set(this.#last, { ...entry, root: this.#rootOf(entry.from) });
    return this.#last;
  }

  get(revision: Revision): Entry | undefined {
    return this.#entries.get(revision);
  }

  update(revision: Revision, change: Partial<Entry>): void {
    const entry = this.#entries.get(revision);
    if (entry) this.#entries.set(revision, { ...entry, ...change });
  }

  /** Forget all but these revisions, what they show meanwhile and what they go back to. */
  retain(wanted: Iterable<Revision>): void {
    const kept = new Set<Revision>();
    for (const revision of wanted) {
      for (const { revision: one, entry } of this.#waitingFor({ revision, chosen: 0 })) {
        kept.add(one);
        if (entry.root) kept.add(entry.root.revision);
      }
    }
    for (const revision of this.#entries.keys()) {
      if (!kept.has(revision)) this.#entries.delete(revision);
    }
  }

  /** The mask to show for an object: its own, or the last one it had. */
  shown(object: Origin): Shape | null {
    for (const { entry, chosen } of this.#waitingFor(object)) {
      if (entry.status === "ready") return entry.shapes[chosen] ?? null;
    }
    return null;
  }

  /** Whether it is known that there is no mask: one on its way, or to be asked for again, may come. */
  isEmpty(object: Origin): boolean {
    return this.get(object.revision)?.status === "ready" && !this.shown(object);
  }

  /** From which mask `prompts`, asked next for this object, should start. */
  priorFor(object: Origin, prompts: Prompts): Prior | undefined {
    for (const { entry, chosen } of this.#waitingFor(object)) {
      if (entry.status !== "ready") continue;
      if (!entry.reply) return entry.shapes[chosen]?.traced.rle;
      if (!extendsPrompts(prompts, entry.prompts)) return this.#rleOf(entry.root);
      return chosen > 0 ? { mask: entry.reply, candidate: chosen } : undefined;
    }
    return undefined;
  }

  #rleOf(origin: Origin | null): Prior | undefined {
    return origin ? this.get(origin.revision)?.shapes[origin.chosen]?.traced.rle : undefined;
  }

  #rootOf(from: Origin | null): Origin | null {
    const entry = from ? this.get(from.revision) : undefined;
    return entry?.status === "ready" && !entry.reply ? from : (entry?.root ?? null);
  }

  /** An object's entry and, while it has no mask, the one it comes from, and so on. */
  *#waitingFor(start: Origin): Generator<Origin & { entry: Entry }> {
    let origin: Origin | null = start;
    while (origin) {
      const entry: Entry | undefined = this.#entries.get(origin.revision);
      if (!entry) return;
      yield { ...origin, entry };
      origin = entry.status === "ready" ? null : entry.from;
    }
  }
}
