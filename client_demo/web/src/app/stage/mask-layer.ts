/**
 * Masks as vector outlines over the picture.
 *
 * The browser rasterises them off the main thread and only what is visible, at any zoom and pixel
 * ratio; panning moves the finished layer and draws nothing.
 */
import type { Traced } from "../../client/rle/jobs.ts";
import type { Box, Extent } from "../geometry/points.ts";
import { setAttribute, svgElement } from "./dom.ts";

export interface MaskItem {
  readonly key: string;
  readonly traced: Traced;
  readonly color: string;
  readonly kind: "object" | "active" | "pending" | "pointed" | "hover" | "hover-exclude";
}

interface Group {
  readonly root: SVGGElement;
  readonly paths: readonly [halo: SVGPathElement, shape: SVGPathElement];
  traced: Traced | null;
  exact: boolean;
}

export class MaskLayer {
  readonly root = svgElement("svg", "masks");
  readonly #groups = new Map<string, Group>();
  readonly #box = svgElement("rect", "box");

  constructor() {
    this.root.setAttribute("aria-hidden", "true");
    this.root.append(this.#box);
  }

  /** Show exactly these, in this order. `exact`: zoomed in so far that pixels are seen. */
  render(items: readonly MaskItem[], exact: boolean): void {
    const wanted = new Set(items.map(({ key }) => key));
    for (const [key, { root }] of this.#groups) {
      if (wanted.has(key)) continue;
      root.remove();
      this.#groups.delete(key);
    }
    let previous: Element | null = null;
    for (const item of items) {
      const { root } = this.#draw(item, exact);
      const inPlace: Element | null = previous
        ? previous.nextElementSibling
        : this.root.firstElementChild;
      if (inPlace !== root) this.root.insertBefore(root, inPlace);
      previous = root;
    }
  }

  renderBox(box: Box | null, color: string): void {
    this.#box.style.display = box ? "" : "none";
    if (!box) return;
    const [x0, y0, x1, y1] = box;
    setAttribute(this.#box, "x", String(x0));
    setAttribute(this.#box, "y", String(y0));
    setAttribute(this.#box, "width", String(x1 - x0));
    setAttribute(this.#box, "height", String(y1 - y0));
    this.#box.style.setProperty("--color", color);
  }

  resize(image: Extent): void {
    setAttribute(this.root, "viewBox", `0 0 ${image.width} ${image.height}`);
  }

  #draw(item: MaskItem, exact: boolean): Group {
    const group = this.#groups.get(item.key) ?? this.#create(item.key);
    if (group.traced !== item.traced || group.exact !== exact) {
      const data = exact ? item.traced.exact : item.traced.smooth;
      for (const path of group.paths) path.setAttribute("d", data);
      group.traced = item.traced;
      group.exact = exact;
    }
    setAttribute(group.root, "class", `mask ${item.kind}`);
    if (group.root.style.getPropertyValue("--color") !== item.color) {
      group.root.style.setProperty("--color", item.color);
    }
    return group;
  }

  #create(key: string): Group {
    const root = svgElement("g", "mask");
    const paths = [svgElement("path", "halo"), svgElement("path", "shape")] as const;
    root.dataset.key = key;
    root.append(...paths);
    const group: Group = { root, paths, traced: null, exact: false };
    this.#groups.set(key, group);
    return group;
  }
}
