/** Fruit, a mug and a bowl on a wooden table by a window. */
import { body, plane } from "./bodies.mjs";
import { clamp, fbm, hypot, mixColor, noise, step } from "./math.mjs";
import {
  at,
  blend,
  box,
  capsule,
  cut,
  cylinder,
  ellipsoid,
  relief,
  sphere,
  torus,
  turned,
  turnY,
  turnZ,
  union,
} from "./shapes.mjs";
import { mottled, plain, planks, plaster } from "./surfaces.mjs";
import { normal } from "./tracer.mjs";

/** Lifted and lowered round the stalk, as an apple is. */
function appleShape(r) {
  return (x, y, z) => {
    const ring = hypot(x, z);
    const dimple = 0.3 * r * Math.exp(-((ring / (0.3 * r)) ** 2)) * (y > 0 ? 1 : 0.6);
    return 0.85 * (hypot(ring, (Math.abs(y) + dimple) * 1.08, 0) - r);
  };
}

function appleSkin(x, y, z) {
  const streaks = fbm(Math.atan2(z, x) * 7, y * 1.2, 3, 4);
  const blush = step(0.28, 0.62, streaks + 0.22 * y);
  const dot = step(0.86, 0.93, noise(x * 30, y * 30, z * 30)) * 0.25;
  const red = mixColor([0.6, 0.34, 0.07], [0.46, 0.02, 0.025], blush);
  return { color: mixColor(red, [0.8, 0.62, 0.4], dot), gloss: 0.8, rough: 0.12 };
}

const stalk = (height) => capsule(0, 0, 0, 0.05, height, 0.02, 0.02, 0.026);

function apple(x, y, z, r) {
  return [
    body([x, y, z], r * 1.12, appleShape(r), appleSkin),
    body([x, y + r * 0.6, z], 0.5, stalk(r * 0.62), plain([0.12, 0.07, 0.03])),
  ];
}

const peel = (x, y, z) => 0.006 * noise(x * 26, y * 26, z * 26);

function orange(x, y, z, r) {
  const skin = mottled([0.86, 0.31, 0.02], [0.8, 0.24, 0.012], 3, 0.5, 0.3);
  return [body([x, y, z], r + 0.05, relief(ellipsoid(r, r * 0.95, r), peel), skin)];
}

function lemon(x, y, z, angle) {
  const flesh = blend(
    0.16,
    ellipsoid(0.46, 0.33, 0.33),
    at(0.44, 0, 0, sphere(0.075)),
    at(-0.43, 0, 0, sphere(0.06)),
  );
  const skin = mottled([0.88, 0.66, 0.05], [0.82, 0.57, 0.03], 4, 0.45, 0.3);
  return [body([x, y, z], 0.62, turnY(angle, turnZ(0.1, relief(flesh, peel))), skin)];
}

function pear(x, y, z) {
  const flesh = blend(0.42, sphere(0.52), at(0.05, 0.66, 0, sphere(0.26)));
  const skin = (px, py, pz) => {
    const speck = step(0.72, 0.9, noise(px * 34, py * 34, pz * 34)) * 0.5;
    const green = mixColor(
      [0.38, 0.47, 0.06],
      [0.55, 0.5, 0.09],
      step(-0.4, 0.6, px + 0.3 * fbm(px * 3, py * 3, pz * 3)),
    );
    return { color: mixColor(green, [0.26, 0.2, 0.06], speck), gloss: 0.45, rough: 0.25 };
  };
  return [
    body([x, y, z], 1.15, flesh, skin),
    body([x + 0.05, y + 0.86, z], 0.45, stalk(0.3), plain([0.1, 0.06, 0.03])),
  ];
}

function mug(x, y, z) {
  const cup = cut(cylinder(0.56, 0.62, 0.07), at(0, 0.14, 0, cylinder(0.49, 0.62, 0.06)));
  const handle = at(0.62, 0.02, 0, torus(0.33, 0.085));
  const solid = cut(blend(0.05, cup, handle), at(0, 0.14, 0, cylinder(0.49, 0.62, 0.06)));
  const glaze = (px, py, pz) => {
    const bare = step(-0.47, -0.44, py + 0.02 * noise(px * 8, 0, pz * 8));
    const blue = mixColor([0.035, 0.12, 0.21], [0.07, 0.2, 0.3], fbm(px * 5, py * 5, pz * 5));
    return bare > 0.5
      ? { color: blue, gloss: 1.6, rough: 0.07 }
      : { color: [0.48, 0.36, 0.25], gloss: 0, rough: 1 };
  };
  const coffee = body(
    [x, y + 0.3, z],
    0.5,
    cylinder(0.495, 0.02),
    plain([0.035, 0.016, 0.008], 1, 0.03),
  );
  return [body([x, y, z], 1.15, turnY(-0.55, solid), glaze), coffee];
}

function bowl(x, y, z) {
  const profile = [
    [0.0, -0.34],
    [0.42, -0.34],
    [0.8, -0.1],
    [1.0, 0.34],
  ];
  const clay = (px, py, pz, _nx, ny) => {
    const rim = step(0.3, 0.34, py);
    const speck = step(0.8, 0.9, noise(px * 22, py * 22, pz * 22)) * 0.35;
    const cream = mixColor([0.72, 0.68, 0.6], [0.3, 0.24, 0.18], speck);
    return {
      color: mixColor(cream, [0.34, 0.22, 0.13], rim * clamp(ny + 0.4, 0, 1)),
      gloss: 0.9,
      rough: 0.14,
    };
  };
  return [body([x, y, z], 1.2, turned(profile, 0.055), clay)];
}

function bottle(x, y, z) {
  const glass = blend(0.22, cylinder(0.36, 0.9, 0.12), at(0, 1.28, 0, cylinder(0.115, 0.45, 0.02)));
  const whole = union(glass, at(0, 1.68, 0, cylinder(0.145, 0.055, 0.02)));
  const look = (px, py, pz) => {
    const label = Math.abs(py + 0.2) < 0.36 && pz > -0.4;
    const line = label && Math.abs(py + 0.12) < 0.05 && Math.abs(px) < 0.22;
    if (line) return { color: [0.35, 0.05, 0.05], gloss: 0, rough: 1 };
    return label
      ? { color: [0.68, 0.62, 0.5], gloss: 0.1, rough: 0.5 }
      : { color: [0.012, 0.045, 0.02], gloss: 2.2, rough: 0.035 };
  };
  return [body([x, y, z], 1.85, whole, look)];
}

function cloth(x, y, z) {
  const folded = turnY(
    0.5,
    relief(box(1.05, 0.045, 0.72, 0.04), (px, _py, pz) => 0.02 * Math.sin(px * 5 + pz)),
  );
  const linen = (px, _, pz) => {
    const [u, v] = [
      Math.cos(0.5) * px - Math.sin(0.5) * pz,
      Math.sin(0.5) * px + Math.cos(0.5) * pz,
    ];
    const stripe =
      Math.abs(((u * 2.1 + 20) % 1) - 0.5) < 0.11 ? [0.12, 0.2, 0.36] : [0.72, 0.7, 0.66];
    const thread = 0.86 + 0.14 * noise(u * 70, 1, v * 70);
    return { color: stripe.map((value) => value * thread), gloss: 0, rough: 1 };
  };
  return [body([x, y, z], 1.4, folded, linen)];
}

const ground = plane((_, y) => y, planks);
// The window's light falls off along the wall.
const wall = plane(
  (_, __, z) => z + 4.2,
  (x, y, z) => {
    const fall = 0.36 + 0.5 * step(4.5, -5, x + 0.9 * y);
    return { color: plaster(x, y, z).color.map((value) => value * fall), gloss: 0, rough: 1 };
  },
);

const sun = normal([-0.72, 0.62, 0.42]);

export const scene = {
  bodies: [
    ground,
    wall,
    ...bowl(-0.35, 0.42, -0.55),
    ...orange(-0.72, 0.78, -0.6, 0.4),
    ...apple(0.02, 0.86, -0.45, 0.4),
    ...lemon(-0.38, 0.74, -0.12, 0.7),
    ...mug(1.75, 0.63, -0.15),
    ...bottle(-2.0, 0.92, -1.15),
    ...pear(-1.85, 0.52, 0.55),
    ...cloth(0.95, 0.05, 1.3),
    ...apple(0.72, 0.5, 1.2, 0.42),
    ...lemon(1.45, 0.42, 1.32, -0.5),
    ...orange(-0.62, 0.4, 1.25, 0.42),
  ],
  light: { direction: sun, size: 0.09, color: [3.5, 2.85, 2.15] },
  // A window to the left, a dim room elsewhere.
  sky: (dx, dy, dz) => {
    const pane = dx < -0.35 && dy > 0.05 && dy < 0.75 && dz > -0.35 && dz < 0.75;
    const bar = Math.abs(dz - 0.2) < 0.03 || Math.abs(dy - 0.4) < 0.025;
    if (pane && !bar) return [2.3, 2.5, 2.8];
    const height = clamp(0.5 + dy * 0.5, 0, 1);
    return [0.28 * height + 0.06, 0.3 * height + 0.06, 0.34 * height + 0.06];
  },
  ground: [0.2, 0.11, 0.06],
  camera: { from: [0.15, 2.55, 6.6], to: [0, 0.72, 0], fov: 36 },
  exposure: 0.5,
};
