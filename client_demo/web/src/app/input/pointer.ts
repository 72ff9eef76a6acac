/** Pointers on the stage: DOM events to gestures, gestures to actions. */
import { type CanvasPoint, isInsideImage } from "../geometry/points.ts";
import { toImage } from "../geometry/viewport.ts";
import type { Stage } from "../stage/stage.ts";
import { currentPicture } from "../state/pictures.ts";
import type { Actions } from "../work/actions.ts";
import type { Brush } from "../work/brush.ts";
import type { Context } from "../work/context.ts";
import type { Segmenter } from "../work/segmenter.ts";
import { type GestureEvent, Gestures, type Intent } from "./gestures.ts";

const HOLD_MS = 500;
/** One notch of a wheel. */
const WHEEL_STEP = 0.0016;

export class PointerInput {
  readonly #gestures: Gestures;
  #path: number[] = [];
  #hold: ReturnType<typeof setTimeout> | undefined;
  spaceDown = false;
  /** Browsers hold moves back until the next frame; where they offer it, previews need not wait. */
  readonly #movesRaw: boolean;

  constructor(
    private readonly context: Context,
    private readonly stage: Stage,
    private readonly actions: Actions,
    private readonly brush: Brush,
    private readonly segmenter: Segmenter,
  ) {
    this.#gestures = new Gestures(() => context.state.get().tool);
    const { root } = stage;
    this.#movesRaw = "onpointerrawupdate" in root;
    root.addEventListener("pointerdown", (event) => this.#down(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    if (this.#movesRaw) {
      root.addEventListener("pointerrawupdate", (event) => this.#rawMove(event as PointerEvent));
    }
    root.addEventListener("pointerup", (event) => this.#up(event));
    root.addEventListener("pointercancel", (event) => {
      this.#feed({ type: "cancel", id: event.pointerId });
    });
    root.addEventListener("pointerleave", () => this.#left());
    root.addEventListener("contextmenu", (event) => event.preventDefault());
    root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Whether there was something to take back. */
  abandon(): boolean {
    const intents = this.#gestures.reset();
    for (const intent of intents) this.#perform(intent);
    return intents.length > 0;
  }

  #down(event: PointerEvent): void {
    const { root } = this.stage;
    root.focus({ preventScroll: true });
    root.setPointerCapture(event.pointerId);
    event.preventDefault();
    const touch = event.pointerType !== "mouse";
    clearTimeout(this.#hold);
    if (touch) this.#hold = setTimeout(() => this.#feed({ type: "hold" }), HOLD_MS);
    this.context.live.update((now) => ({ ...now, crosshair: null }));
    this.#feed({
      type: "down",
      id: event.pointerId,
      at: this.stage.canvasPoint(event),
      button: event.button,
      touch,
      alt: event.altKey,
      space: this.spaceDown,
    });
  }

  #move(event: PointerEvent): void {
    const at = this.stage.canvasPoint(event);
    const pointer = event.pointerType === "touch" ? null : toImage(this.stage.viewport.get(), at);
    this.context.live.update((now) => ({ ...now, pointer }));
    if (!this.#movesRaw || this.#gestures.busy) this.#feedMove(event, at);
  }

  /** Only what hovers: a gesture is drawn, and that is done once a frame anyway. */
  #rawMove(event: PointerEvent): void {
    if (this.#gestures.busy || event.buttons !== 0) return;
    this.#feedMove(event, this.stage.canvasPoint(event));
  }

  #feedMove({ pointerId: id, altKey: alt }: PointerEvent, at: CanvasPoint): void {
    this.#feed({ type: "move", id, at, alt });
  }

  #up(event: PointerEvent): void {
    clearTimeout(this.#hold);
    this.#feed({ type: "up", id: event.pointerId, at: this.stage.canvasPoint(event) });
  }

  #left(): void {
    if (this.#gestures.busy) return;
    this.segmenter.clearHover();
    this.context.live.update((now) => ({ ...now, pointer: null, pointed: null }));
  }

  /** A pinch on a trackpad arrives as a wheel with ctrl held. */
  #wheel(event: WheelEvent): void {
    event.preventDefault();
    if (event.shiftKey && !event.ctrlKey) {
      this.stage.pan(-(event.deltaX || event.deltaY), 0);
      return;
    }
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 33 : event.deltaY;
    const speed = event.ctrlKey ? 5 * WHEEL_STEP : WHEEL_STEP;
    this.stage.zoom(Math.exp(-pixels * speed), this.stage.canvasPoint(event));
  }

  #feed(event: GestureEvent): void {
    for (const intent of this.#gestures.feed(event)) this.#perform(intent);
  }

  #perform(intent: Intent): void {
    switch (intent.do) {
      case "tap":
        return this.actions.addPoint(this.#image(intent.at), this.#label(intent.label));
      case "select":
        return this.actions.selectAt(this.#image(intent.at));
      case "box":
        return this.#rubberBand(intent.from, intent.to);
      case "boxEnd":
        this.context.live.update((now) => ({ ...now, box: null }));
        return this.actions.addBox(this.#image(intent.from), this.#image(intent.to));
      case "stroke":
      case "strokeEnd":
        return this.#stroke(intent);
      case "pan":
        return this.stage.pan(intent.dx, intent.dy);
      case "zoom":
        return this.stage.zoom(intent.factor, intent.at);
      case "hover":
        return this.#hover(intent.at, this.#label(intent.label));
      case "abandon":
        clearTimeout(this.#hold);
        this.#path = [];
        return this.brush.cancel();
    }
  }

  #label(gesture: 0 | 1): 0 | 1 {
    return gesture && this.stage.tapLabel.get();
  }

  #rubberBand(from: CanvasPoint, to: CanvasPoint): void {
    clearTimeout(this.#hold);
    this.segmenter.clearHover();
    const [a, b] = [this.#image(from), this.#image(to)];
    const box = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
    this.context.live.update((now) => ({ ...now, box: box as [number, number, number, number] }));
  }

  #stroke(intent: Extract<Intent, { do: "stroke" | "strokeEnd" }>): void {
    clearTimeout(this.#hold);
    const { x, y } = this.#image(intent.at);
    this.#path.push(x, y);
    const how = intent.erase ? "subtract" : "union";
    if (intent.do === "stroke") return this.brush.preview([...this.#path], how);
    const path = this.#path;
    this.#path = [];
    void this.brush.finish(path, how);
  }

  #hover(at: CanvasPoint, label: 0 | 1): void {
    const state = this.context.state.get();
    const size = currentPicture(state)?.size;
    const point = this.#image(at);
    this.context.point(state.tool === "select" ? (this.actions.objectAt(point)?.id ?? null) : null);
    if (state.tool !== "segment" || !size || !isInsideImage(point, size))
      return this.segmenter.clearHover();
    void this.segmenter.hover(point, label);
  }

  #image(at: CanvasPoint) {
    return toImage(this.stage.viewport.get(), at);
  }
}
