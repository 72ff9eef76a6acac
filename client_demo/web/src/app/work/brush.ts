/** Strokes of brush and eraser: shown while they are drawn, then part of a mask, one after another. */
import type { Operation, Traced } from "../../client/index.ts";
import { Latest } from "../../client/latest.ts";
import { imagePoint } from "../geometry/points.ts";
import type { Drawn } from "../state/model.ts";
import { currentPicture, currentScene } from "../state/pictures.ts";
import type { Actions } from "./actions.ts";
import type { Context } from "./context.ts";

interface Line {
  readonly path: readonly number[];
  readonly how: Operation;
  readonly radius: number;
}

/** A finished one, as it was when the pen went up. */
interface Stroke extends Line {
  readonly picture: string | null;
  /** Null: the active one when its turn comes, which an earlier stroke may have begun. */
  readonly object: number | null;
}

export class Brush {
  /** Of a stroke that is drawn faster than masks are made, only the newest state is shown. */
  readonly #previews = new Latest((ask: () => Promise<void>) => ask());
  #drawing = false;
  #painted: Promise<void> = Promise.resolve();

  constructor(
    private readonly context: Context,
    private readonly actions: Actions,
  ) {}

  /** A stroke so far. */
  preview(path: readonly number[], how: Operation): void {
    const object = this.#target(path, how);
    const id = object?.id ?? currentScene(this.context.state.get()).nextId;
    const shown = this.#previews.push(async () => {
      const radius = this.context.state.get().brushRadius;
      const traced = await this.#trace(object, { path, how, radius });
      if (traced && this.#drawing) {
        this.context.live.update((now) => ({ ...now, stroke: { object: id, traced } }));
      }
    });
    shown.catch(() => {}); // the stroke itself will say why
    this.#drawing = true;
  }

  /** Each stroke goes on from the one before it, however fast they come. */
  finish(path: readonly number[], how: Operation): Promise<void> {
    this.#drawing = false;
    const { brushRadius: radius, current: picture } = this.context.state.get();
    const stroke = { path, how, radius, picture, object: this.actions.active?.id ?? null };
    this.#painted = this.#painted
      .then(() => this.#paint(stroke))
      .catch((error) => this.context.notices.failure(error))
      .finally(() => {
        if (!this.#drawing) this.context.live.update((now) => ({ ...now, stroke: null }));
      });
    return this.#painted;
  }

  cancel(): void {
    this.#drawing = false;
    this.context.live.update((now) => ({ ...now, stroke: null, box: null }));
  }

  async #paint(stroke: Stroke): Promise<void> {
    const left = () => this.context.state.get().current !== stroke.picture;
    const { path, how, object: id } = stroke;
    const object = id === null ? this.#target(path, how) : this.actions.find(id);
    if (left() || (id !== null && !object)) return;
    if (!object && how === "subtract") {
      return this.context.notices.info("Select an object first, then erase from it.");
    }
    const traced = await this.#trace(object, stroke);
    if (!traced || left()) return;
    const now = object ? this.actions.find(object.id) : null;
    if (now || !object) this.actions.redraw(now, traced);
  }

  /** The active object; an eraser without one takes from what it was set down on. */
  #target(path: readonly number[], how: Operation): Drawn | null {
    const { active } = this.actions;
    if (active || how === "union") return active;
    return this.actions.objectAt(imagePoint(path[0]!, path[1]!));
  }

  async #trace(object: Drawn | null, { path, how, radius }: Line): Promise<Traced | null> {
    const image = currentPicture(this.context.state.get())?.size;
    const base = object ? this.context.book.shown(object) : null;
    if (!image || (how === "subtract" && !base)) return null;
    const { width, height } = image;
    const rle = base?.traced.rle ?? null;
    return this.context.worker.run("stroke", { width, height }, rle, path, radius, how);
  }
}
