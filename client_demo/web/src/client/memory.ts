/**
 * What the client remembers of each object, so that a new connection carries on where the last
 * one broke: the server's logits are gone, the mask we got is not.
 */
import type { MaskReply, RleBody, Segment } from "./messages.ts";

export type Prompts = Pick<Segment, "points" | "box">;

/**
 * Absent: the server chooses. Null: none. A reply, with the candidate of it to refine. Or a mask.
 */
export type Prior = { readonly mask: MaskReply; readonly candidate?: number } | RleBody | null;

/** What the server at the other end remembers, and what it takes. */
export interface Reach {
  /** The id from which on it remembers. */
  readonly since: number;
  readonly maxPriorBytes: number;
}

interface Remembered {
  readonly prompts: Prompts;
  readonly mask: MaskReply;
}

export class ObjectMemory {
  readonly #objects = new Map<number, Remembered>();

  remember(object: number, prompts: Prompts, mask: MaskReply): void {
    this.#objects.set(object, { prompts, mask });
  }

  forget(object: number): void {
    this.#objects.delete(object);
  }

  clear(): void {
    this.#objects.clear();
  }

  /**
   * The prior to put on the wire.
   *
   * A named reply that the server forgot travels as a mask; and what it would have chosen itself
   * (the last mask whose prompts these extend) is chosen here in its place.
   */
  resolve(
    object: number,
    prompts: Prompts,
    prior: Prior | undefined,
    { since, maxPriorBytes }: Reach,
  ): Segment["prior"] {
    if (prior === undefined) {
      const last = this.#objects.get(object);
      const lost = last && last.mask.id < since && extend(prompts, last.prompts);
      return lost ? asPrior(last.mask, 0, maxPriorBytes) : undefined;
    }
    if (prior === null || "counts" in prior) return prior;
    const candidate = prior.candidate ?? 0;
    if (prior.mask.id > since) return [prior.mask.id, candidate];
    return asPrior(prior.mask, candidate, maxPriorBytes);
  }
}

/**
 * A candidate of a reply as a mask of its own; null when the server would refuse its size, since a
 * click without what came before is better than none.
 */
export function asPrior(reply: MaskReply, candidate: number, maxBytes: number): RleBody | null {
  const rle = reply.candidates?.[candidate]?.rle ?? reply.rle;
  return rle.counts.length <= maxBytes ? rle : null;
}

/** Whether `prompts` are `earlier` and more: the same box, earlier points first. */
function extend(prompts: Prompts, earlier: Prompts): boolean {
  const [points, before] = [prompts.points ?? [], earlier.points ?? []];
  const prefix = before.every((point, index) => same(point, points[index]));
  return points.length > before.length && prefix && same(prompts.box, earlier.box);
}

function same(a: readonly number[] | undefined, b: readonly number[] | undefined): boolean {
  return a === b || (!!a && !!b && a.length === b.length && a.every((value, i) => value === b[i]));
}
