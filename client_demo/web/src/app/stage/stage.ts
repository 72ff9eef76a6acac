/**
 * The stage: a pure reading of state, live things and viewport, painted at most once a frame.
 *
 * The world (picture, masks, marks) is one layer that panning only translates. Zooming resizes it,
 * so that everything is drawn sharp at its new size.
 */
import { type CanvasPoint, canvasPoint, type Extent, type ImagePoint } from "../geometry/points.ts";
import {
  centred,
  fitted,
  keepVisible,
  panBy,
  toCanvas,
  toImage,
  type Viewport,
  zoomAt,
} from "../geometry/viewport.ts";
import { shownColor } from "../state/colors.ts";
import { colorOf, type Drawn, NO_PROMPTS } from "../state/model.ts";
import { currentPicture, currentScene } from "../state/pictures.ts";
import { activeObject } from "../state/scene.ts";
import { Store } from "../state/store.ts";
import type { Actions } from "../work/actions.ts";
import type { Context } from "../work/context.ts";
import type { Gallery } from "../work/gallery.ts";
import { element, setAttribute } from "./dom.ts";
import { MarkLayer } from "./mark-layer.ts";
import { type MaskItem, MaskLayer } from "./mask-layer.ts";

/** Device pixels an image pixel covers from which its edges are worth seeing. */
const EXACT_FROM = 3;
const LABEL = "Picture. Arrow keys move the crosshair, question mark for help.";

export class Stage {
  readonly root = element("div", "stage");
  readonly viewport = new Store<Viewport>({ scale: 1, left: 0, top: 0 });
  /** What a plain tap says; a gesture that excludes does so whatever this is. */
  readonly tapLabel = new Store<0 | 1>(1);
  readonly #world = element("div", "world");
  readonly #image = element("img", "picture");
  readonly #masks = new MaskLayer();
  readonly #marks: MarkLayer;
  readonly #cursor = element("div", "brush-cursor");
  readonly #crosshair = element("div", "crosshair");
  #extent: Extent = { width: 0, height: 0 };
  #fitted = "";
  /** The picture that the browser could not show: whether anybody can, the server will say. */
  #unshown: string | null = null;
  /** Until the user zooms or pans, the picture fits whatever size the stage takes. */
  #follows = true;
  #frame = 0;

  constructor(
    private readonly context: Context,
    private readonly gallery: Gallery,
    actions: Actions,
  ) {
    this.#marks = new MarkLayer({
      toImage: (event) => this.imagePoint(event),
      move: (mark, to) => actions.moveMark(mark, to),
      drop: (mark, to) => {
        actions.moveMark(mark, to);
        actions.selectMark(null);
        this.root.focus({ preventScroll: true }); // the keys are the picture's again
      },
      remove: (mark) => actions.removeMark(mark),
      select: (mark) => actions.selectMark(mark),
    });
    this.#compose();
    for (const store of [context.state, context.live, context.masksVersion, this.viewport]) {
      store.subscribe(() => this.#schedule());
    }
    new ResizeObserver(() => this.#resized()).observe(this.root);
  }

  get extent(): Extent {
    return this.#extent;
  }

  canvasPoint(event: MouseEvent): CanvasPoint {
    const { left, top } = this.root.getBoundingClientRect();
    return canvasPoint(event.clientX - left, event.clientY - top);
  }

  imagePoint(event: MouseEvent): ImagePoint {
    return toImage(this.viewport.get(), this.canvasPoint(event));
  }

  fitPicture(): void {
    const image = this.#size();
    if (!image || !this.#extent.width) return;
    this.#follows = true;
    this.viewport.set(fitted(image, this.#extent, this.#covered()));
  }

  /** One image pixel to one pixel of the screen, around the middle of what is seen. */
  actualSize(): void {
    const image = this.#size();
    if (!image) return;
    const scale = 1 / devicePixelRatio;
    const { scale: now } = this.viewport.get();
    if (this.#follows) this.#move(centred(image, this.#extent, scale));
    else this.zoom(scale / now);
  }

  zoom(factor: number, at: CanvasPoint = this.middle()): void {
    const image = this.#size();
    if (image) this.#move(zoomAt(this.viewport.get(), at, factor, image));
  }

  pan(dx: number, dy: number): void {
    this.#move(panBy(this.viewport.get(), dx, dy));
  }

  middle(): CanvasPoint {
    return canvasPoint(this.#extent.width / 2, this.#extent.height / 2);
  }

  /** Bring a point of the image into view. */
  reveal(point: ImagePoint): void {
    const { x, y } = toCanvas(this.viewport.get(), point);
    const off = (value: number, end: number) => Math.min(Math.max(value, 32), end - 32) - value;
    const [dx, dy] = [off(x, this.#extent.width), off(y, this.#extent.height)];
    if (dx || dy) this.pan(dx, dy);
  }

  #compose(): void {
    this.root.tabIndex = -1;
    this.#image.alt = "";
    this.#image.draggable = false;
    this.#cursor.hidden = this.#crosshair.hidden = this.#world.hidden = true;
    this.#image.addEventListener("error", () => {
      this.#unshown = this.#image.dataset.key ?? null;
      this.#image.classList.add("unshown");
      this.#schedule();
    });
    this.#image.addEventListener("load", () => {
      const key = this.#image.dataset.key;
      if (key) this.gallery.measured(key, this.#image.naturalWidth, this.#image.naturalHeight);
    });
    this.#world.append(this.#image, this.#masks.root, this.#marks.root, this.#crosshair);
    this.root.append(this.#world, this.#cursor);
    // Whatever the press is for, and before a mark keeps it to itself: somebody wants to go on.
    this.root.addEventListener("pointerdown", () => this.context.client.wake(), { capture: true });
  }

  /** Without a picture it is no place to go to. */
  #offer(picture: boolean): void {
    if (this.root.tabIndex === (picture ? 0 : -1)) return;
    this.root.tabIndex = picture ? 0 : -1;
    this.root.role = picture ? "application" : null;
    this.root.ariaLabel = picture ? LABEL : null;
  }

  #move(view: Viewport): void {
    const image = this.#size();
    if (!image) return;
    this.#follows = false;
    this.viewport.set(keepVisible(view, image, this.#extent));
  }

  #resized(): void {
    this.#extent = { width: this.root.clientWidth, height: this.root.clientHeight };
    if (this.#follows) this.fitPicture();
    else this.#move(this.viewport.get());
  }

  /** Pixels that the bars over the stage cover at its bottom: only the style sheet knows. */
  #covered(): number {
    return Number(getComputedStyle(this.root).getPropertyValue("--covered-below"));
  }

  #size(): Extent | null {
    return currentPicture(this.context.state.get())?.size ?? null;
  }

  #schedule(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint(): void {
    const picture = currentPicture(this.context.state.get());
    this.#offer(picture !== null);
    this.#world.hidden = !picture?.size;
    this.#showPicture(picture?.key ?? null);
    if (picture?.status.kind === "open") this.#tellUnshown(picture.key);
    if (!picture?.size) return;
    if (this.#fitted !== picture.key) {
      this.#fitted = picture.key;
      this.fitPicture();
    }
    this.#paintWorld(picture.size);
    this.#paintMasks(picture.history.present.objects);
    this.#paintPointer();
  }

  #showPicture(key: string | null): void {
    if (this.#image.dataset.key === (key ?? undefined)) return;
    this.#image.classList.remove("unshown");
    if (key) {
      this.#image.dataset.key = key;
      this.#image.src = this.gallery.url(key) ?? "";
    } else {
      delete this.#image.dataset.key;
      this.#image.removeAttribute("src");
      this.#fitted = "";
    }
  }

  #tellUnshown(key: string): void {
    if (this.#unshown !== key) return;
    this.#unshown = null;
    this.context.notices.problem("This browser cannot show that picture. Save it as JPEG or PNG.");
  }

  #paintWorld(image: Extent): void {
    const { scale, left, top } = this.viewport.get();
    const { style } = this.#world;
    style.transform = `translate3d(${left}px, ${top}px, 0)`;
    style.width = `${image.width * scale}px`;
    style.height = `${image.height * scale}px`;
    this.#image.classList.toggle("pixelated", scale * devicePixelRatio >= EXACT_FROM);
    this.#masks.resize(image);
  }

  #paintMasks(objects: readonly Drawn[]): void {
    const state = this.context.state.get();
    const { active } = currentPicture(state)!.history.present;
    const object = objects.find(({ id }) => id === active) ?? null;
    const exact = this.viewport.get().scale * devicePixelRatio >= EXACT_FROM;
    this.#masks.render([...this.#items(objects, active), ...this.#hoverItems()], exact);
    const box = this.context.live.get().box ?? object?.prompts.box ?? null;
    this.#masks.renderBox(box, this.#activeColor());
    this.#marks.render(object?.prompts ?? NO_PROMPTS, this.viewport.get().scale, state.mark);
    const { style, dataset } = this.#masks.root as SVGSVGElement;
    style.setProperty("--opacity", String(state.opacity));
    dataset.look = state.look;
  }

  *#items(objects: readonly Drawn[], active: number | null): Generator<MaskItem> {
    const { stroke, pointed } = this.context.live.get();
    const state = this.context.state.get();
    for (const object of objects) {
      const drawn = stroke?.object === object.id ? stroke.traced : null;
      const traced = drawn ?? this.context.book.shown(object)?.traced;
      if (!traced || !object.visible) continue;
      const pending = this.context.book.get(object.revision)?.status === "pending";
      const other = object.id === pointed ? "pointed" : "object";
      const kind = object.id === active ? (pending ? "pending" : "active") : other;
      yield { key: String(object.id), traced, color: shownColor(state, object), kind };
    }
    const fresh = stroke && !objects.some(({ id }) => id === stroke.object);
    if (fresh)
      yield { key: "stroke", traced: stroke.traced, color: this.#activeColor(), kind: "active" };
  }

  #hoverItems(): MaskItem[] {
    const { hover } = this.context.live.get();
    if (!hover) return [];
    const kind = hover.excludes ? "hover-exclude" : "hover";
    return [{ key: "hover", traced: hover.traced, color: this.#activeColor(), kind }];
  }

  /** Of the active object, or of the one that the next click begins. */
  #activeColor(): string {
    const state = this.context.state.get();
    const scene = currentScene(state);
    const next = { color: colorOf(scene.nextId), label: "" };
    return shownColor(state, activeObject(scene) ?? next);
  }

  #paintPointer(): void {
    const { tool, brushRadius } = this.context.state.get();
    const { pointer, crosshair } = this.context.live.get();
    const view = this.viewport.get();
    setAttribute(this.root, "data-tool", tool);
    this.#cursor.hidden = !pointer || (tool !== "brush" && tool !== "eraser");
    if (pointer) {
      const { x, y } = toCanvas(view, pointer);
      const size = Math.max(4, 2 * brushRadius * view.scale);
      this.#cursor.style.transform = `translate(${x - size / 2}px, ${y - size / 2}px)`;
      this.#cursor.style.width = this.#cursor.style.height = `${size}px`;
    }
    this.#crosshair.hidden = !crosshair;
    if (crosshair) {
      const { x, y } = crosshair;
      this.#crosshair.style.transform = `translate(${x * view.scale}px, ${y * view.scale}px)`;
    }
  }
}
