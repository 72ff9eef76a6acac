/** Where the image lies on the stage: its scale and the place of its top left corner. */
import {
  type CanvasPoint,
  canvasPoint,
  type Extent,
  type ImagePoint,
  imagePoint,
} from "./points.ts";

export interface Viewport {
  /** CSS pixels per image pixel. */
  readonly scale: number;
  readonly left: number;
  readonly top: number;
}

export const MAX_SCALE = 40;
const MARGIN = 24;
/** So much of the image stays on the stage, however far it is pushed. */
const KEEP_VISIBLE = 48;

export function toImage(view: Viewport, point: CanvasPoint): ImagePoint {
  return imagePoint((point.x - view.left) / view.scale, (point.y - view.top) / view.scale);
}

export function toCanvas(view: Viewport, point: ImagePoint): CanvasPoint {
  return canvasPoint(point.x * view.scale + view.left, point.y * view.scale + view.top);
}

/** The whole image, as large as the stage allows, in its middle; `below` is kept free of it. */
export function fitted(image: Extent, whole: Extent, below = 0): Viewport {
  const stage = { width: whole.width, height: Math.max(4 * MARGIN, whole.height - below) };
  const room = { width: stage.width - 2 * MARGIN, height: stage.height - 2 * MARGIN };
  const scale = Math.max(
    minScale(image),
    Math.min(room.width / image.width, room.height / image.height, MAX_SCALE),
  );
  return centred(image, stage, scale);
}

export function centred(image: Extent, stage: Extent, scale: number): Viewport {
  return {
    scale,
    left: (stage.width - image.width * scale) / 2,
    top: (stage.height - image.height * scale) / 2,
  };
}

/** Zoom so that what is under `point` stays under it. */
export function zoomAt(
  view: Viewport,
  point: CanvasPoint,
  factor: number,
  image: Extent,
): Viewport {
  const scale = Math.min(Math.max(view.scale * factor, minScale(image)), MAX_SCALE);
  const ratio = scale / view.scale;
  return {
    scale,
    left: point.x - (point.x - view.left) * ratio,
    top: point.y - (point.y - view.top) * ratio,
  };
}

export function panBy(view: Viewport, dx: number, dy: number): Viewport {
  return { ...view, left: view.left + dx, top: view.top + dy };
}

/** Push back an image that would leave the stage. */
export function keepVisible(view: Viewport, image: Extent, stage: Extent): Viewport {
  const clamp = (start: number, length: number, room: number) =>
    Math.min(Math.max(start, KEEP_VISIBLE - length), room - KEEP_VISIBLE);
  return {
    scale: view.scale,
    left: clamp(view.left, image.width * view.scale, stage.width),
    top: clamp(view.top, image.height * view.scale, stage.height),
  };
}

function minScale(image: Extent): number {
  return Math.min(1, 32 / Math.max(image.width, image.height));
}
