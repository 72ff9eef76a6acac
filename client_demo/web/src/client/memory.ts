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
   * The prior to put on the wire. `since`: the id from which on the server remembers.
   *
   * A named reply of before that travels as a mask; and what the server would have chosen itself
   * (the last mask whose prompts these extend) is chosen here in its place.
   */
  resolve(
    object: number,
    prompts: Prompts,
    prior: Prior | undefined,
    since: number,
  ): Segment["prior"] {
    if (prior === undefined) {
      const last = this.#objects.get(object);
      const lost = last && last.mask.id < since && extend(prompts, last.prompts);
      return lost ? last.mask.rle : undefined;
    }
    if (prior === null || "counts" in prior) return prior;
    const candidate = prior.candidate ?? 0;
    return prior.mask.id > since ? [prior.mask.id, candidate] : maskOf(prior.mask, candidate);
  }
}

/** The RLE of one candidate of a reply. */
export function maskOf(reply: MaskReply, candidate: number): RleBody {
  return reply.candidates?.[candidate]?.rle ?? reply.rle;
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
