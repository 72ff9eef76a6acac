/** A shape in its place, with its surface in its own coordinates. */
import { at } from "./shapes.mjs";

export function body(center, reach, shape, surface) {
  const [cx, cy, cz] = center;
  return {
    ...{ x: cx, y: cy, z: cz, reach },
    distance: at(cx, cy, cz, shape),
    surface: (x, y, z, nx, ny, nz) => surface(x - cx, y - cy, z - cz, nx, ny, nz),
  };
}

/** An endless plane: its bounding sphere never spares its evaluation. */
export function plane(distance, surface) {
  return { x: 0, y: 0, z: 0, reach: 1e6, distance, surface };
}
