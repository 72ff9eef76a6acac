/** What a user can do to objects; every way to do it (mouse, touch, keyboard, panel) ends here. */
import { type Bbox, hitTester, MAX_POINTS, SamwireError, type Traced } from "../../client/index.ts";
import {
  boxBetween,
  clampToImage,
  type Extent,
  type ImagePoint,
  isInsideImage,
  oppositeCorner,
} from "../geometry/points.ts";
import { readable } from "../input/shortcuts.ts";
import * as history from "../state/history.ts";
import type { Shape } from "../state/masks.ts";
import { type Drawn, type Mark, NO_PROMPTS, type Prompts, type Scene } from "../state/model.ts";
import {
  changePicture,
  changeScene,
  currentPicture,
  currentScene,
  importClasses,
  renameClass,
  type Step,
  travel,
} from "../state/pictures.ts";
import * as scenes from "../state/scene.ts";
import type { Context } from "./context.ts";
import { type Segmenter, toPrompt } from "./segmenter.ts";

/** The nth name, by the digit that gives it. */
const ORDINALS = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th"] as const;

export class Actions {
  #lastKept: { readonly picture: string | null; readonly object: number } | null = null;
  #taughtSelecting = false;

  constructor(
    private readonly context: Context,
    private readonly segmenter: Segmenter,
  ) {}

  /** The object that is worked on. */
  get active(): Drawn | null {
    return scenes.activeObject(currentScene(this.context.state.get()));
  }

  find(id: number): Drawn | null {
    const { objects } = currentScene(this.context.state.get());
    return objects.find((one) => one.id === id) ?? null;
  }

  addPoint(at: ImagePoint, label: 0 | 1): void {
    const image = this.#image();
    if (!image || !isInsideImage(at, image)) return;
    const object = this.active;
    if (label === 0 && !object) {
      this.context.notices.info("Click the object first; then exclude what does not belong to it.");
    } else if ((object?.prompts.points.length ?? 0) >= this.#maxPoints) {
      this.context.notices.info("That object has all the points it can take. Remove one first.");
    } else {
      if (!object) this.#teachSelecting(at);
      this.#prompt((prompts) => scenes.withPoint(prompts, toPrompt(at, label)));
    }
  }

  /** Said once: whoever clicks a finished object may mean to go on with it. */
  #teachSelecting(at: ImagePoint): void {
    if (this.#taughtSelecting || !this.objectAt(at)) return;
    this.#taughtSelecting = true;
    this.context.notices.info("Already an object here. To edit that one, select it (V).");
  }

  addBox(a: ImagePoint, b: ImagePoint): void {
    const image = this.#image();
    const box = image && boxBetween(a, b, image);
    if (box) this.#prompt((prompts) => scenes.withBox(prompts, box));
  }

  /** Drop a mark elsewhere. */
  moveMark(mark: Mark, to: ImagePoint): void {
    const image = this.#image();
    if (!image) return;
    const at = clampToImage(to, image);
    if ("point" in mark) {
      const [x, y] = toPrompt(at, 1);
      this.#prompt((prompts) => scenes.movedPoint(prompts, mark.point, x, y));
      return;
    }
    const box = this.active?.prompts.box;
    const moved = box && boxBetween(oppositeCorner(box, mark.corner), at, image);
    if (moved) this.#prompt((prompts) => scenes.withBox(prompts, moved));
  }

  removeMark(mark: Mark): void {
    this.context.state.update((state) => ({ ...state, mark: null }));
    this.#prompt((prompts) =>
      "point" in mark ? scenes.withoutPoint(prompts, mark.point) : scenes.withBox(prompts, null),
    );
    const object = this.active;
    if (object && object.prompts.points.length > 0 && this.context.book.isEmpty(object)) {
      this.context.notices.failure(new SamwireError("no_positive_prompt", "Only exclusions."));
    }
  }

  selectMark(mark: Mark | null): void {
    this.context.state.update((state) => ({ ...state, mark }));
  }

  undo(): void {
    this.#travel(history.undo);
  }

  redo(): void {
    this.#travel(history.redo);
  }

  keep(): void {
    const object = this.active;
    if (!object) return;
    if (this.context.book.isEmpty(object)) return this.remove(object.id);
    this.#lastKept = { picture: this.context.state.get().current, object: object.id };
    this.#change("commit", scenes.keep);
  }

  /** Drop what was begun, or let go of what was selected. */
  escape(): void {
    const object = this.active;
    if (!object) return;
    if (object.kept) return this.#change("amend", (scene) => scenes.select(scene, null));
    this.remove(object.id);
    // One click is soon made again; what took longer is not to go without a word.
    const { label, prompts } = object;
    if (label || prompts.points.length + Number(prompts.box !== null) !== 1) {
      this.context.notices.info(`Dropped. ${readable("mod+z")} brings it back.`);
    }
  }

  remove(id: number): void {
    this.#change("commit", (scene) => scenes.removeObject(scene, id));
  }

  select(id: number | null): void {
    this.#lastKept = null; // another was looked at since
    this.#change("amend", (scene) => scenes.select(scene, id));
  }

  /** The topmost visible object under a point becomes the active one. */
  selectAt(at: ImagePoint): void {
    this.select(this.objectAt(at)?.id ?? null);
  }

  objectAt(at: ImagePoint): Drawn | null {
    const hit = (object: Drawn) => {
      const shape = object.visible ? this.context.book.shown(object) : null;
      return !!shape && isWithin(shape.traced.bbox, at) && hitTester(shape.traced)(at.x, at.y);
    };
    return [...currentScene(this.context.state.get()).objects].reverse().find(hit) ?? null;
  }

  /** The next or previous candidate, without asking again. */
  cycle(by: 1 | -1): void {
    const object = this.active;
    const count = object ? (this.context.book.get(object.revision)?.shapes.length ?? 0) : 0;
    if (!object || count < 2) return;
    this.change(object.id, { chosen: (object.chosen + by + count) % count }, "amend");
  }

  change(id: number, change: Partial<Drawn>, step: Step = "commit"): void {
    this.#change(step, (scene) => scenes.changeObject(scene, id, change));
  }

  name(id: number, label: string): void {
    const trimmed = label.trim();
    const object = this.find(id);
    // Saying the same again is no step, or one Undo would seem to do nothing.
    if (!object || object.label === trimmed) return;
    this.change(id, { label: trimmed });
    this.context.state.update((state) => renameClass(state, object.label, trimmed));
  }

  /** Give the active object, or the one just kept, the nth class of the list. */
  nameByNumber(index: number): void {
    const label = this.context.state.get().classes[index];
    if (!label) return this.context.notices.info(`There is no ${ORDINALS[index]} name yet.`);
    const object = this.#nameable();
    // A digit chooses among names: the one that it takes away is no slip, and stays in the list.
    if (object && object.label !== label) this.change(object.id, { label });
  }

  /** Before a name is typed: the object just kept is the active one again, if none is. */
  takeUp(): void {
    const object = this.#nameable();
    if (object && !this.active) this.select(object.id);
  }

  #nameable(): Drawn | null {
    const object = this.active ?? this.#justKept();
    if (!object) this.context.notices.info("Select an object first.");
    return object;
  }

  #justKept(): Drawn | null {
    const state = this.context.state.get();
    return this.#lastKept?.picture === state.current ? this.find(this.#lastKept.object) : null;
  }

  /** Add finished masks to a picture, as one step. */
  adopt(key: string, objects: readonly { shape: Shape; label: string }[]): void {
    const { state } = this.context;
    const picture = state.get().pictures.find((one) => one.key === key);
    if (!picture || objects.length === 0) return;
    const scene = objects.reduce((before, { shape, label }) => {
      const revision = this.#ready(null, NO_PROMPTS, [shape]);
      return scenes.addObject(before, { label, revision, kept: true });
    }, picture.history.present);
    const next = history.commit(picture.history, scenes.select(scene, null));
    state.update((now) => ({
      ...changePicture(now, key, { history: next }),
      mark: now.current === key ? null : now.mark,
    }));
    const labels = objects.map(({ label }) => label).filter((label) => label !== "");
    state.update((now) => importClasses(now, labels));
  }

  /** A mask that was drawn, for an object or as a new one. */
  redraw(object: Drawn | null, traced: Traced): void {
    const prompts = object?.prompts ?? NO_PROMPTS;
    const revision = this.#ready(object, prompts, [{ traced, score: null }]);
    this.#change("commit", (scene) =>
      object
        ? scenes.prompt(scene, object.id, prompts, revision)
        : scenes.addObject(scene, { revision }),
    );
  }

  #ready(object: Drawn | null, prompts: Prompts, shapes: Shape[]): number {
    const from = object ? { revision: object.revision, chosen: object.chosen } : null;
    return this.context.book.next({ status: "ready", prompts, from, shapes, reply: null });
  }

  #prompt(change: (prompts: Prompts) => Prompts): void {
    const object = this.active;
    const prompts = change(object?.prompts ?? NO_PROMPTS);
    const revision = this.segmenter.revise(object, prompts);
    this.segmenter.clearHover();
    this.#change("commit", (scene) =>
      object
        ? scenes.prompt(scene, object.id, prompts, revision)
        : scenes.addObject(scene, { prompts, revision }),
    );
    const changed = this.active;
    if (changed) this.segmenter.ask(changed);
    this.segmenter.prune();
  }

  #travel(direction: typeof history.undo): void {
    this.segmenter.clearHover();
    this.context.state.update((state) => travel(state, direction));
    this.segmenter.ensure();
  }

  #change(step: Step, change: (scene: Scene) => Scene): void {
    this.context.state.update((state) => changeScene(state, step, change));
  }

  get #maxPoints(): number {
    return this.context.client.welcome?.limits.max_points ?? MAX_POINTS;
  }

  #image(): Extent | null {
    return currentPicture(this.context.state.get())?.size ?? null;
  }
}

function isWithin([left, top, width, height]: Bbox, { x, y }: ImagePoint): boolean {
  return x >= left && y >= top && x < left + width && y < top + height;
}
