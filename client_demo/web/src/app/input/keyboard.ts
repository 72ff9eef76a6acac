/** Keys: shortcuts, the crosshair, class numbers. */
import { clampToImage, type ImagePoint, imagePoint } from "../geometry/points.ts";
import { toImage } from "../geometry/viewport.ts";
import type { Stage } from "../stage/stage.ts";
import type { State, Tool } from "../state/model.ts";
import { currentPicture, currentScene } from "../state/pictures.ts";
import type { Actions } from "../work/actions.ts";
import type { Brush } from "../work/brush.ts";
import type { Context } from "../work/context.ts";
import type { Gallery } from "../work/gallery.ts";
import type { Segmenter } from "../work/segmenter.ts";
import type { PointerInput } from "./pointer.ts";
import { type Command, commandOf } from "./shortcuts.ts";
import { endTyping, isSlider, isTyping } from "./typing.ts";

const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const ZOOM_STEP = 1.25;

export interface KeyboardTargets {
  readonly stage: Stage;
  readonly actions: Actions;
  readonly brush: Brush;
  readonly gallery: Gallery;
  readonly segmenter: Segmenter;
  readonly pointer: PointerInput;
  openPicker(): void;
  typeName(): void;
}

export class KeyboardInput {
  #corner: ImagePoint | null = null;
  #picture: string | null = null;
  /** Whoever gets about by Tab must not be caught by it on the stage: there it moves on. */
  #tabMovesOn = true;
  readonly #commands: Record<Command, () => void>;

  constructor(
    private readonly context: Context,
    private readonly to: KeyboardTargets,
  ) {
    this.#commands = this.#table();
    addEventListener("keydown", (event) => this.#down(event));
    addEventListener("keyup", (event) => {
      if (event.key === " ") this.#space(false);
    });
    addEventListener("blur", () => this.#space(false));
    addEventListener("pointerdown", () => this.#goByKeys(false), { capture: true });
    context.state.subscribe(({ current }) => this.#shown(current));
  }

  #table(): Record<Command, () => void> {
    const { actions, stage, gallery } = this.to;
    return {
      include: () => this.#at((point) => this.#place(point, 1)),
      exclude: () => this.#at((point) => this.#place(point, 0)),
      corner: () => this.#at((point) => this.#setCorner(point)),
      keep: () => actions.keep(),
      escape: () => this.#escape(),
      nextCandidate: () => actions.cycle(1),
      previousCandidate: () => actions.cycle(-1),
      undo: () => actions.undo(),
      redo: () => actions.redo(),
      delete: () => this.#deleteActive(),
      segment: () => this.#tool("segment"),
      brush: () => this.#tool("brush"),
      eraser: () => this.#tool("eraser"),
      select: () => this.#tool("select"),
      hand: () => this.#tool("hand"),
      smaller: () => this.#resizeBrush(1 / 1.2),
      larger: () => this.#resizeBrush(1.2),
      fit: () => stage.fitPicture(),
      actualSize: () => stage.actualSize(),
      zoomIn: () => stage.zoom(ZOOM_STEP),
      zoomOut: () => stage.zoom(1 / ZOOM_STEP),
      look: () => this.#set(({ look }) => ({ look: look === "fill" ? "outline" : "fill" })),
      nextPicture: () => gallery.step(1),
      previousPicture: () => gallery.step(-1),
      name: () => this.to.typeName(),
      open: () => this.to.openPicker(),
      export: () => this.#set(() => ({ sheet: "export" })),
      help: () => this.#set(({ sheet }) => ({ sheet: sheet === "help" ? null : "help" })),
    };
  }

  #down(event: KeyboardEvent): void {
    // What popped up goes by Escape, and nothing else does.
    if (event.key === "Escape" && document.querySelector(":popover-open")) return;
    if (commandOf(event) === "export") {
      event.preventDefault(); // the browser would save the page, whatever has the focus
      endTyping();
    }
    const used = !this.#isElsewhere() && this.#use(event);
    if (used) event.preventDefault();
    else if (event.key === "Tab") this.#goByKeys(true);
  }

  /** Only who gets about by keys needs to see that the stage has the focus. */
  #goByKeys(yes: boolean): void {
    this.#tabMovesOn = yes;
    this.to.stage.root.classList.toggle("by-keys", yes);
  }

  #isElsewhere(): boolean {
    const { sheet } = this.context.state.get();
    const typing = isTyping(document.activeElement);
    return sheet !== null || typing || !!document.querySelector("dialog:modal");
  }

  /** What was begun on one picture means nothing on another. */
  #shown(picture: string | null): void {
    if (picture === this.#picture) return;
    this.#picture = picture;
    this.to.pointer.abandon();
    this.#dropCorner();
    this.context.live.update((now) => ({ ...now, crosshair: null }));
  }

  #use(event: KeyboardEvent): boolean {
    const command = commandOf(event);
    return command ? this.#run(command, event) : this.#other(event);
  }

  /** Whether the key was used up. */
  #run(command: Command, event: KeyboardEvent): boolean {
    const { root } = this.to.stage;
    const onPicture = event.target === document.body || root.contains(event.target as Node);
    const presses = event.key === "Enter" && !isSlider(event.target);
    const activates = presses || event.key === "Tab";
    // On a button Enter presses it, and Tab moves on: there the page must not take them.
    if (activates && !onPicture) return false;
    const { active } = currentScene(this.context.state.get());
    if (event.key === "Tab" && (this.#tabMovesOn || active === null)) return false;
    this.#commands[command]();
    return true;
  }

  #other(event: KeyboardEvent): boolean {
    const onStage = event.target === this.to.stage.root || event.target === document.body;
    if (event.key === " " && onStage) {
      this.#space(true);
      return true;
    }
    const arrow = ARROWS[event.key];
    const chord = event.ctrlKey || event.metaKey || event.altKey;
    if (arrow && onStage && !chord) return this.#moveCrosshair(arrow, event.shiftKey ? 10 : 1);
    if (/^[1-9]$/.test(event.key) && !chord) {
      this.to.actions.nameByNumber(Number(event.key) - 1);
      return true;
    }
    return false;
  }

  #space(down: boolean): void {
    this.to.pointer.spaceDown = down;
    this.to.stage.root.classList.toggle("grabbing", down);
  }

  /** In steps of screen pixels, so that it is as quick at any zoom. */
  #moveCrosshair([dx, dy]: readonly [number, number], times: number): boolean {
    const size = currentPicture(this.context.state.get())?.size;
    if (!size) return false;
    this.#goByKeys(true);
    const { stage, segmenter } = this.to;
    const from = this.context.live.get().crosshair ?? this.#middle();
    const step = Math.max(1, 6 / stage.viewport.get().scale) * times;
    const crosshair = clampToImage(imagePoint(from.x + dx * step, from.y + dy * step), size);
    this.context.live.update((now) => ({ ...now, crosshair }));
    stage.reveal(crosshair);
    if (this.context.state.get().tool === "segment") void segmenter.hover(crosshair, 1);
    this.#growBox(crosshair);
    return true;
  }

  #middle(): ImagePoint {
    return toImage(this.to.stage.viewport.get(), this.to.stage.middle());
  }

  /** Where the keyboard points, or else the mouse. */
  #at(act: (point: ImagePoint) => void): void {
    const { crosshair, pointer } = this.context.live.get();
    const point = crosshair ?? pointer;
    if (point) act(point);
  }

  #place(point: ImagePoint, label: 0 | 1): void {
    const { tool } = this.context.state.get();
    const brushes = tool === "brush" || tool === "eraser";
    if (!brushes) return this.to.actions.addPoint(point, label);
    const erases = (tool === "eraser") === (label === 1);
    void this.to.brush.finish([point.x, point.y], erases ? "subtract" : "union");
  }

  #setCorner(point: ImagePoint): void {
    if (this.#corner) {
      this.to.actions.addBox(this.#corner, point);
      this.#dropCorner();
    } else {
      this.#corner = point;
      this.#growBox(point);
    }
  }

  #growBox(to: ImagePoint): void {
    const from = this.#corner;
    if (!from) return;
    const [x0, x1] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
    const [y0, y1] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
    this.context.live.update((now) => ({ ...now, box: [x0, y0, x1, y1] }));
  }

  #dropCorner(): void {
    this.#corner = null;
    this.context.live.update((now) => ({ ...now, box: null }));
  }

  #escape(): void {
    if (this.to.pointer.abandon()) return;
    if (this.#corner) return this.#dropCorner();
    this.to.segmenter.clearHover();
    this.to.actions.escape();
  }

  #deleteActive(): void {
    const { active } = currentScene(this.context.state.get());
    if (active !== null) this.to.actions.remove(active);
  }

  #tool(tool: Tool): void {
    this.to.segmenter.clearHover();
    this.#set(() => ({ tool }));
  }

  #resizeBrush(factor: number): void {
    this.#set(({ brushRadius }) => ({
      brushRadius: Math.min(400, Math.max(1, brushRadius * factor)),
    }));
  }

  #set(change: (state: State) => Partial<State>): void {
    this.context.state.update((state) => ({ ...state, ...change(state) }));
  }
}
