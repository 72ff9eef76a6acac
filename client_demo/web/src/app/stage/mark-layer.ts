/** Points and box corners as buttons: to drag, to focus, to move by arrows, to delete. */
import {
  type CanvasPoint,
  canvasPoint,
  cornersOf,
  distance,
  type ImagePoint,
  imagePoint,
} from "../geometry/points.ts";
import { slopPx } from "../input/gestures.ts";
import type { Mark, Prompts } from "../state/model.ts";
import { element, setAttribute } from "./dom.ts";

export interface MarkHandlers {
  /** Where an event is, on the image. */
  toImage(event: PointerEvent): ImagePoint;
  move(mark: Mark, to: ImagePoint): void;
  /** It was dragged there and let go of. */
  drop(mark: Mark, to: ImagePoint): void;
  remove(mark: Mark): void;
  select(mark: Mark | null): void;
}

const CORNERS = ["Top left", "Top right", "Bottom right", "Bottom left"] as const;
const HOLD_MS = 550;

export class MarkLayer {
  readonly root = element("div", "marks");
  readonly #buttons = new Map<string, { button: HTMLButtonElement; at: ImagePoint }>();

  constructor(private readonly handlers: MarkHandlers) {}

  render(prompts: Prompts, scale: number, selected: Mark | null): void {
    const wanted = new Map<string, () => void>();
    prompts.points.forEach(([x, y, label], point) => {
      const name = `${label ? "Include" : "Exclude"} point ${point + 1} at ${x}, ${y}`;
      const kind = label ? "include" : "exclude";
      wanted.set(`p${point}`, () => this.#place({ point }, imagePoint(x, y), scale, kind, name));
    });
    for (const [index, at] of (prompts.box ? cornersOf(prompts.box) : []).entries()) {
      const corner = index as 0 | 1 | 2 | 3;
      const name = `${CORNERS[corner]} corner of the box`;
      wanted.set(`c${corner}`, () => this.#place({ corner }, at, scale, "corner", name));
    }
    for (const [key, { button }] of this.#buttons) {
      if (!wanted.has(key)) {
        button.remove();
        this.#buttons.delete(key);
      }
    }
    for (const place of wanted.values()) place();
    for (const [key, { button }] of this.#buttons) {
      button.classList.toggle("selected", !!selected && keyOf(selected) === key);
    }
  }

  #place(mark: Mark, at: ImagePoint, scale: number, kind: string, name: string): void {
    const known = this.#buttons.get(keyOf(mark));
    const button = known?.button ?? this.#create(mark);
    this.#buttons.set(keyOf(mark), { button, at });
    setAttribute(button, "class", `mark ${kind}`);
    setAttribute(button, "aria-label", name);
    button.style.transform = `translate(${at.x * scale}px, ${at.y * scale}px)`;
  }

  #create(mark: Mark): HTMLButtonElement {
    const button = element("button", "mark");
    button.type = "button";
    this.root.append(button);
    button.addEventListener("pointerdown", (event) => this.#grab(button, mark, event));
    button.addEventListener("keydown", (event) => this.#key(mark, event));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("focus", () => this.handlers.select(mark));
    return button;
  }

  /** From here on the pointer is the mark's until it is let go. */
  #grab(button: HTMLButtonElement, mark: Mark, down: PointerEvent): void {
    down.stopPropagation();
    if (down.button === 2) return this.handlers.remove(mark);
    button.setPointerCapture(down.pointerId);
    const from = spot(down);
    const touch = down.pointerType !== "mouse";
    const hold = touch ? setTimeout(() => end(() => this.handlers.remove(mark)), HOLD_MS) : 0;
    const drag = new AbortController();
    const end = (then: () => void) => {
      clearTimeout(hold);
      drag.abort();
      button.style.removeProperty("translate");
      then();
    };
    const { signal } = drag;
    const moved = (event: PointerEvent) => distance(from, spot(event)) > slopPx(touch);
    button.addEventListener(
      "pointermove",
      (event) => {
        event.stopPropagation();
        if (!moved(event)) return;
        clearTimeout(hold);
        button.style.translate = `${event.clientX - from.x}px ${event.clientY - from.y}px`;
      },
      { signal },
    );
    button.addEventListener(
      "pointerup",
      (event) => {
        event.stopPropagation();
        end(() => {
          if (moved(event)) this.handlers.drop(mark, this.handlers.toImage(event));
        });
      },
      { signal },
    );
    button.addEventListener("pointercancel", () => end(() => {}), { signal });
  }

  #key(mark: Mark, event: KeyboardEvent): void {
    const known = this.#buttons.get(keyOf(mark));
    const step = event.shiftKey ? 10 : 1;
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (event.key === "Delete" || event.key === "Backspace") this.handlers.remove(mark);
    else if (known && (dx || dy)) {
      this.handlers.move(mark, imagePoint(known.at.x + dx * step, known.at.y + dy * step));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function keyOf(mark: Mark): string {
  return "point" in mark ? `p${mark.point}` : `c${mark.corner}`;
}

function spot(event: PointerEvent): CanvasPoint {
  return canvasPoint(event.clientX, event.clientY);
}
