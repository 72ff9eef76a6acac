/**
 * What pointers mean: events in, intents out, without a DOM.
 *
 * One finger or button presses: let go in place it is a tap, moved it is a box or a stroke, held it
 * excludes. A second finger takes over to pan and pinch, whatever the first had begun.
 */
import { type CanvasPoint, canvasPoint, distance } from "../geometry/points.ts";
import type { Tool } from "../state/model.ts";

export type GestureEvent =
  | {
      readonly type: "down";
      readonly id: number;
      readonly at: CanvasPoint;
      readonly button: number;
      /** A finger or a pen: neither is as steady as a mouse, and holding it excludes. */
      readonly touch: boolean;
      readonly alt: boolean;
      readonly space: boolean;
    }
  | { readonly type: "move"; readonly id: number; readonly at: CanvasPoint; readonly alt: boolean }
  | { readonly type: "up"; readonly id: number; readonly at: CanvasPoint }
  | { readonly type: "cancel"; readonly id: number }
  /** A finger or a pen has rested long enough. */
  | { readonly type: "hold" };

export type Intent =
  | { readonly do: "tap"; readonly at: CanvasPoint; readonly label: 0 | 1 }
  | { readonly do: "select"; readonly at: CanvasPoint }
  | { readonly do: "box" | "boxEnd"; readonly from: CanvasPoint; readonly to: CanvasPoint }
  | { readonly do: "stroke" | "strokeEnd"; readonly at: CanvasPoint; readonly erase: boolean }
  | { readonly do: "pan"; readonly dx: number; readonly dy: number }
  | { readonly do: "zoom"; readonly at: CanvasPoint; readonly factor: number }
  | { readonly do: "hover"; readonly at: CanvasPoint; readonly label: 0 | 1 }
  | { readonly do: "abandon" };

type Down = Extract<GestureEvent, { type: "down" }>;
type Mode = "press" | "box" | "stroke" | "pan" | "pinch" | "spent";

const RIGHT = 2;
const MIDDLE = 1;
const PEN_ERASER = 5;

export class Gestures {
  readonly #fingers = new Map<number, CanvasPoint>();
  #mode: Mode | null = null;
  #down: Down | null = null;
  #erase = false;

  constructor(private readonly tool: () => Tool) {}

  /** Whether something is going on that a hover must not disturb. */
  get busy(): boolean {
    return this.#mode !== null;
  }

  /** Take back what is going on; what is still pressed does nothing more. */
  reset(): Intent[] {
    return this.busy ? this.#finish([{ do: "abandon" }]) : [];
  }

  feed(event: GestureEvent): Intent[] {
    switch (event.type) {
      case "down":
        return this.#pressed(event);
      case "move":
        return this.#moved(event);
      case "up":
        return this.#released(event);
      case "cancel":
        this.#fingers.delete(event.id);
        return this.#finish([{ do: "abandon" }]);
      case "hold":
        return this.#held();
    }
  }

  #pressed(event: Down): Intent[] {
    this.#fingers.set(event.id, event.at);
    if (this.#fingers.size > 1) {
      this.#mode = "pinch";
      return [{ do: "abandon" }];
    }
    this.#down = event;
    this.#mode = this.#modeOf(event);
    const tool = this.tool();
    this.#erase = event.button === PEN_ERASER || (tool === "eraser") !== event.alt;
    return this.#mode === "stroke" ? [{ do: "stroke", at: event.at, erase: this.#erase }] : [];
  }

  #modeOf({ button, space }: Down): Mode {
    const tool = this.tool();
    if (space || button === MIDDLE || tool === "hand") return "pan";
    if (button === PEN_ERASER) return "stroke";
    const brushes = tool === "brush" || tool === "eraser";
    return brushes && button !== RIGHT ? "stroke" : "press";
  }

  #moved(event: Extract<GestureEvent, { type: "move" }>): Intent[] {
    const before = this.#fingers.get(event.id);
    if (!before) return [{ do: "hover", at: event.at, label: event.alt ? 0 : 1 }];
    if (this.#mode === "pinch") return this.#pinched(event.id, event.at);
    this.#fingers.set(event.id, event.at);
    const down = this.#down!;
    if (this.#mode === "press" && distance(down.at, event.at) > slopPx(down.touch)) {
      this.#mode = this.#dragMode(down);
    }
    if (this.#mode === "box") return [{ do: "box", from: down.at, to: event.at }];
    if (this.#mode === "stroke") return [{ do: "stroke", at: event.at, erase: this.#erase }];
    if (this.#mode !== "pan") return [];
    return [{ do: "pan", dx: event.at.x - before.x, dy: event.at.y - before.y }];
  }

  /** The right button drags the picture, the left one a box. */
  #dragMode(down: Down): Mode {
    if (down.button === RIGHT || this.tool() === "select") return "pan";
    return "box";
  }

  #pinched(id: number, at: CanvasPoint): Intent[] {
    const [a, b] = [...this.#fingers.values()];
    this.#fingers.set(id, at);
    const [c, d] = [...this.#fingers.values()];
    if (!a || !b || !c || !d) return [];
    const [from, to] = [between(a, b), between(c, d)];
    const factor = distance(c, d) / Math.max(1, distance(a, b));
    return [
      { do: "pan", dx: to.x - from.x, dy: to.y - from.y },
      { do: "zoom", at: to, factor },
    ];
  }

  #released(event: Extract<GestureEvent, { type: "up" }>): Intent[] {
    if (!this.#fingers.delete(event.id)) return [];
    const down = this.#down!;
    if (this.#mode === "press") return this.#finish([this.#tap(down)]);
    if (this.#mode === "box") {
      return this.#finish([{ do: "boxEnd", from: down.at, to: event.at }]);
    }
    if (this.#mode === "stroke") {
      return this.#finish([{ do: "strokeEnd", at: event.at, erase: this.#erase }]);
    }
    return this.#finish([]);
  }

  #tap(down: Down): Intent {
    if (this.tool() === "select" && down.button !== RIGHT) return { do: "select", at: down.at };
    return { do: "tap", at: down.at, label: down.button === RIGHT || down.alt ? 0 : 1 };
  }

  #held(): Intent[] {
    if (this.#mode !== "press" || !this.#down?.touch) return [];
    this.#mode = "spent";
    return [{ do: "tap", at: this.#down.at, label: 0 }];
  }

  /** What is left of a pinch does nothing until every finger is up. */
  #finish(intents: Intent[]): Intent[] {
    this.#mode = this.#fingers.size > 0 ? "spent" : null;
    return intents;
  }
}

/** Less is a click, not a drag. */
export function slopPx(touch: boolean): number {
  return touch ? 10 : 4;
}

function between(a: CanvasPoint, b: CanvasPoint): CanvasPoint {
  return canvasPoint((a.x + b.x) / 2, (a.y + b.y) / 2);
}
