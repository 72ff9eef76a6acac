/**
 * The masks of every revision: undo looks them up again instead of asking the server.
 *
 * An entry whose mask has not come yet shows what it was made from, so nothing flickers.
 */
import type { MaskReply, Prior, Traced } from "../../client/index.ts";
import type { Drawn, Prompts, Revision } from "./model.ts";
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
  readonly shapes: readonly Shape[];
  /** Null for edited, imported and restored masks: the server knows nothing of those. */
  readonly reply: MaskReply | null;
}

export class MaskBook {
  readonly #entries = new Map<Revision, Entry>();
  #last: Revision = 0;

  next(entry: Entry): Revision {
    this.#last += 1;
    this.#entries.set(this.#last, entry);
    return this.#last;
  }

  get(revision: Revision): Entry | undefined {
    return this.#entries.get(revision);
  }

  update(revision: Revision, change: Partial<Entry>): void {
    const entry = this.#entries.get(revision);
    if (entry) this.#entries.set(revision, { ...entry, ...change });
  }

  /** Forget all but these revisions and what they show meanwhile. */
  retain(wanted: Iterable<Revision>): void {
    const kept = new Set<Revision>();
    for (const revision of wanted) {
      for (const { revision: one } of this.#lineage({ revision, chosen: 0 })) kept.add(one);
    }
    for (const revision of this.#entries.keys()) {
      if (!kept.has(revision)) this.#entries.delete(revision);
    }
  }

  /** The mask to show for an object: its own, or the last one it had. */
  shown(object: Pick<Drawn, "revision" | "chosen">): Shape | null {
    for (const { entry, chosen } of this.#lineage(object)) {
      if (entry.status === "ready") return entry.shapes[chosen] ?? null;
    }
    return null;
  }

  /** From which mask `prompts`, asked next for this object, should start. */
  priorFor(object: Pick<Drawn, "revision" | "chosen">, prompts: Prompts): Prior | undefined {
    for (const { entry, chosen } of this.#lineage(object)) {
      if (entry.status !== "ready") continue;
      if (!entry.reply) return entry.shapes[chosen]?.traced.rle;
      if (extendsPrompts(prompts, entry.prompts)) {
        return chosen > 0 ? { mask: entry.reply, candidate: chosen } : undefined;
      }
    }
    return undefined;
  }

  /** An object's entry, the one it came from, and so on. */
  *#lineage(start: Origin): Generator<Origin & { entry: Entry }> {
    let origin: Origin | null = start;
    while (origin) {
      const entry: Entry | undefined = this.#entries.get(origin.revision);
      if (!entry) return;
      yield { ...origin, entry };
      origin = entry.from;
    }
  }
}
