/** Revisions to masks: asks the server, traces what comes, and writes it into the book. */
import { type MaskReply, type RleBody, SamwireError } from "../../client/index.ts";
import type { ImagePoint } from "../geometry/points.ts";
import type { Entry, Shape } from "../state/masks.ts";
import {
  type Drawn,
  NO_PROMPTS,
  type PromptPoint,
  type Prompts,
  type Revision,
} from "../state/model.ts";
import { currentPicture, currentScene } from "../state/pictures.ts";
import { activeObject, isPositive, withPoint } from "../state/scene.ts";
import type { Context } from "./context.ts";

export class Segmenter {
  #hovers = 0;
  /** Hovers up to here are no longer wanted: cleared, or a newer one is shown. */
  #cleared = 0;

  constructor(private readonly context: Context) {}

  /** A revision for other prompts of an object; its mask will follow. */
  revise(object: Drawn | null, prompts: Prompts): Revision {
    const { book } = this.context;
    const from = object ? { revision: object.revision, chosen: object.chosen } : null;
    const entry = { status: "pending", prompts, from, shapes: [], reply: null } as const;
    const prior = object ? book.priorFor(object, prompts) : undefined;
    if (isPositive(prompts) || (prior !== undefined && prompts.points.length > 0)) {
      return book.next(entry);
    }
    const base = object && prior !== undefined ? book.shown(object) : null;
    return book.next({ ...entry, status: "ready", shapes: base ? [base] : [] });
  }

  /** Ask for every mask the current picture still lacks. */
  ensure(): void {
    const picture = currentPicture(this.context.state.get());
    if (!picture || picture.status.kind === "failed") return;
    for (const object of picture.history.present.objects) {
      if (this.context.book.get(object.revision)?.status === "failed") this.ask(object);
    }
  }

  ask(object: Drawn): void {
    const entry = this.context.book.get(object.revision);
    if (!entry || entry.status === "ready") return;
    this.context.book.update(object.revision, { status: "pending" });
    this.#segment(object, entry).catch((error) => this.#failed(object.revision, error));
  }

  async #segment(object: Drawn, entry: Entry): Promise<void> {
    const { client, book } = this.context;
    const { points, box } = entry.prompts;
    const prior = book.priorFor(entry.from ?? object, entry.prompts);
    const single = points.length === 1 && !box && prior === undefined;
    const reply = await client.segment({
      object: object.id,
      ...wire(points, box),
      candidates: single && client.welcome?.features.includes("candidates") !== false,
      prior,
    });
    if (reply.type === "superseded") throw new SamwireError("superseded", "Overtaken.");
    const shapes = await this.#shapes(reply);
    book.update(object.revision, { status: "ready", shapes, reply });
    this.context.masksChanged();
  }

  #failed(revision: Revision, error: unknown): void {
    this.context.book.update(revision, { status: "failed" });
    this.context.masksChanged();
    const pause = error instanceof SamwireError ? error.details.retryAfter : undefined;
    if (pause) setTimeout(() => this.ensure(), pause * 1000);
    else this.context.notices.failure(error);
  }

  /** Forget masks that no step of any history shows any more. */
  prune(): void {
    const scenes = this.context.state
      .get()
      .pictures.flatMap(({ history: { past, present, future } }) => [...past, present, ...future]);
    this.context.book.retain(scenes.flatMap(({ objects }) => objects.map((one) => one.revision)));
  }

  async #shapes(reply: MaskReply): Promise<Shape[]> {
    const bodies = reply.candidates ?? [reply];
    return Promise.all(bodies.map(({ rle, score }) => this.shape(rle, score)));
  }

  async shape(rle: RleBody, score: number | null): Promise<Shape> {
    return { traced: await this.context.worker.run("trace", rle), score };
  }

  /** Show what a click here would give. */
  async hover(point: ImagePoint, label: 0 | 1): Promise<void> {
    const { client, book, live, state } = this.context;
    if (client.state.status === "asleep") client.wake();
    if (currentPicture(state.get())?.status.kind !== "open") return;
    this.#hovers += 1;
    const turn = this.#hovers;
    const scene = currentScene(state.get());
    const object = activeObject(scene);
    const prompts = withPoint(object?.prompts ?? NO_PROMPTS, toPrompt(point, label));
    const prior = object ? book.priorFor(object, prompts) : undefined;
    if (!isPositive(prompts) && prior === undefined) return;
    const { points, box } = prompts;
    const id = object?.id ?? scene.nextId;
    // A preview that fails is no preview; the click will say why.
    const reply = await client.hover({ object: id, ...wire(points, box), prior }).catch(() => null);
    if (!reply) return;
    const traced = await this.context.worker.trace(reply.rle);
    if (turn <= this.#cleared) return;
    this.#cleared = turn; // a large mask may still be on its way when a newer, small one is here
    live.update((now) => ({ ...now, hover: { traced, excludes: label === 0 } }));
  }

  /** The pointer left, or a click took the preview's place. */
  clearHover(): void {
    this.#cleared = this.#hovers;
    this.context.client.cancelHover();
    this.context.live.update((now) => (now.hover ? { ...now, hover: null } : now));
  }
}

export function toPrompt(point: ImagePoint, label: 0 | 1): PromptPoint {
  const tenth = (value: number) => Math.floor(value * 10) / 10;
  return [Math.max(0, tenth(point.x)), Math.max(0, tenth(point.y)), label];
}

function wire(points: Prompts["points"], box: Prompts["box"]) {
  return {
    points: points.map((point) => [...point] as [number, number, number]),
    box: box ? ([...box] as [number, number, number, number]) : undefined,
  };
}
