/**
 * The two spaces of the page, as types that do not mix.
 *
 * Image: pixels of the picture after its EXIF orientation, (0, 0) the top left corner of the top
 * left pixel. Canvas: CSS pixels from the top left corner of the stage.
 */
declare const space: unique symbol;

export interface XY {
  readonly x: number;
  readonly y: number;
}

export type ImagePoint = XY & { readonly [space]: "image" };
export type CanvasPoint = XY & { readonly [space]: "canvas" };

export const imagePoint = (x: number, y: number) => ({ x, y }) as ImagePoint;
export const canvasPoint = (x: number, y: number) => ({ x, y }) as CanvasPoint;

/** x0, y0, x1, y1 in image pixels, x0 < x1 and y0 < y1. */
export type Box = readonly [number, number, number, number];

export interface Extent {
  readonly width: number;
  readonly height: number;
}

export function isInsideImage(point: ImagePoint, image: Extent): boolean {
  return point.x >= 0 && point.y >= 0 && point.x < image.width && point.y < image.height;
}

/** The nearest point that is inside; the far edges themselves are not. */
export function clampToImage(point: ImagePoint, image: Extent): ImagePoint {
  const clamp = (value: number, end: number) => Math.min(Math.max(0, value), end - 0.01);
  return imagePoint(clamp(point.x, image.width), clamp(point.y, image.height));
}

/** The box two corners span, clipped to the image; null when nothing of it is left. */
export function boxBetween(a: ImagePoint, b: ImagePoint, image: Extent): Box | null {
  const clip = (value: number, end: number) => Math.min(Math.max(0, value), end);
  const [x0, x1] = [Math.min(a.x, b.x), Math.max(a.x, b.x)].map((x) => clip(x, image.width));
  const [y0, y1] = [Math.min(a.y, b.y), Math.max(a.y, b.y)].map((y) => clip(y, image.height));
  return x1! - x0! >= 1 && y1! - y0! >= 1 ? [x0!, y0!, x1!, y1!] : null;
}

export function distance(a: CanvasPoint, b: CanvasPoint): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

/** Corners go round: top left, top right, bottom right, bottom left. */
export function cornersOf([x0, y0, x1, y1]: Box): ImagePoint[] {
  return [imagePoint(x0, y0), imagePoint(x1, y0), imagePoint(x1, y1), imagePoint(x0, y1)];
}

export function oppositeCorner(box: Box, corner: 0 | 1 | 2 | 3): ImagePoint {
  return cornersOf(box)[(corner + 2) % 4]!;
}
