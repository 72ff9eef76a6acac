/** Toys on a rug: a duck, a bear, a car, blocks, a ball. */
import { body, plane } from "./bodies.mjs";
import { clamp, fbm, hypot, mixColor, noise } from "./math.mjs";
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
  turnX,
  turnY,
  turnZ,
  union,
} from "./shapes.mjs";
import { carpet, plain, plaster } from "./surfaces.mjs";
import { normal } from "./tracer.mjs";

function duck(x, y, z) {
  const turn = (part) => turnY(-0.6, part);
  const tail = at(-0.78, 0.22, 0, turnZ(0.7, ellipsoid(0.3, 0.14, 0.24)));
  const trunk = blend(0.2, ellipsoid(0.82, 0.52, 0.6), tail, at(0.42, 0.72, 0, sphere(0.42)));
  const wing = (side) =>
    at(-0.12, 0.08, 0.54 * side, turnX(0.25 * side, ellipsoid(0.4, 0.24, 0.12)));
  const beak = at(
    0.84,
    0.68,
    0,
    blend(
      0.05,
      at(0, 0.05, 0, ellipsoid(0.2, 0.055, 0.17)),
      at(-0.02, -0.05, 0, ellipsoid(0.16, 0.05, 0.13)),
    ),
  );
  const eyes = union(at(0.69, 0.88, 0.24, sphere(0.07)), at(0.69, 0.88, -0.24, sphere(0.07)));
  const rubber = plain([0.86, 0.55, 0.025], 0.9, 0.16);
  return [
    body([x, y, z], 1.35, turn(blend(0.05, trunk, wing(1), wing(-1))), rubber),
    body([x, y, z], 1.3, turn(beak), plain([0.78, 0.17, 0.02], 0.8, 0.2)),
    body([x, y, z], 1.2, turn(eyes), plain([0.01, 0.01, 0.012], 2, 0.04)),
  ];
}

const fur = (px, py, pz) => 0.035 * fbm(px * 17, py * 17, pz * 17, 3);

function bear(x, y, z) {
  const limb = (ax, ay, az, bx, by, bz, r) => capsule(ax, ay, az, bx, by, bz, r, r * 1.1);
  const trunk = blend(
    0.1,
    ellipsoid(0.58, 0.66, 0.5),
    at(0, 0.95, 0.04, sphere(0.52)),
    at(-0.42, 1.36, 0, sphere(0.18)),
    at(0.42, 1.36, 0, sphere(0.18)),
    limb(-0.48, 0.32, 0.1, -0.82, -0.12, 0.38, 0.18),
    limb(0.48, 0.32, 0.1, 0.82, -0.12, 0.38, 0.18),
    limb(-0.34, -0.5, 0.2, -0.52, -0.48, 0.86, 0.22),
    limb(0.34, -0.5, 0.2, 0.52, -0.48, 0.86, 0.22),
  );
  const coat = (px, py, pz) => {
    const tuft = fbm(px * 17, py * 17, pz * 17, 3);
    return { color: mixColor([0.17, 0.085, 0.038], [0.42, 0.25, 0.13], tuft), gloss: 0, rough: 1 };
  };
  const pale = (px, py, pz) => ({
    color: mixColor([0.5, 0.36, 0.22], [0.72, 0.56, 0.38], noise(px * 25, py * 25, pz * 25)),
    gloss: 0,
    rough: 1,
  });
  const soles = union(
    at(-0.54, -0.47, 1.08, ellipsoid(0.16, 0.17, 0.05)),
    at(0.54, -0.47, 1.08, ellipsoid(0.16, 0.17, 0.05)),
  );
  const snout = union(at(0, 0.83, 0.5, ellipsoid(0.23, 0.18, 0.16)), soles);
  const eyes = union(
    at(-0.19, 1.06, 0.5, sphere(0.062)),
    at(0.19, 1.06, 0.5, sphere(0.062)),
    at(0, 0.92, 0.65, ellipsoid(0.085, 0.06, 0.05)),
  );
  const bow = union(
    at(-0.18, 0.46, 0.46, ellipsoid(0.2, 0.13, 0.08)),
    at(0.18, 0.46, 0.46, ellipsoid(0.2, 0.13, 0.08)),
    at(0, 0.46, 0.5, sphere(0.09)),
  );
  return [
    body([x, y, z], 1.75, relief(trunk, fur), coat),
    body([x, y, z], 1.75, relief(snout, fur), pale),
    body([x, y, z], 1.5, eyes, plain([0.012, 0.01, 0.01], 1.6, 0.06)),
    body([x, y, z], 1, bow, plain([0.5, 0.02, 0.03], 0.5, 0.3)),
  ];
}

function car(x, y, z) {
  const angle = 0.55;
  const shell = blend(
    0.1,
    box(0.95, 0.24, 0.48, 0.14),
    at(-0.08, 0.34, 0, box(0.5, 0.26, 0.4, 0.17)),
  );
  const arches = union(
    at(0.55, -0.24, 0, turnX(Math.PI / 2, cylinder(0.27, 0.7))),
    at(-0.55, -0.24, 0, turnX(Math.PI / 2, cylinder(0.27, 0.7))),
  );
  const wheel = (wx, wz) => at(wx, -0.26, wz, turnX(Math.PI / 2, cylinder(0.22, 0.09, 0.04)));
  const wheels = union(
    wheel(0.55, 0.42),
    wheel(-0.55, 0.42),
    wheel(0.55, -0.42),
    wheel(-0.55, -0.42),
  );
  const paint = (wx, py, wz) => {
    const [px, pz] = [
      Math.cos(angle) * wx - Math.sin(angle) * wz,
      Math.sin(angle) * wx + Math.cos(angle) * wz,
    ];
    const pillar = Math.abs(px + 0.08) < 0.05 || Math.abs(Math.abs(pz) - 0.37) < 0.03;
    const window = py > 0.24 && py < 0.5 && !pillar && Math.abs(px + 0.08) < 0.56;
    if (window) return { color: [0.02, 0.028, 0.04], gloss: 2, rough: 0.03 };
    const lamp = px > 0.86 && Math.abs(Math.abs(pz) - 0.28) < 0.1 && Math.abs(py - 0.04) < 0.09;
    return lamp
      ? { color: [0.9, 0.82, 0.55], gloss: 1, rough: 0.1 }
      : { color: [0.55, 0.02, 0.02], gloss: 1.8, rough: 0.06 };
  };
  const tyre = (wx, py, wz) => {
    const [px, pz] = [
      Math.cos(angle) * wx - Math.sin(angle) * wz,
      Math.sin(angle) * wx + Math.cos(angle) * wz,
    ];
    const hub = hypot(Math.abs(px) - 0.55, py + 0.26) < 0.11 && Math.abs(pz) > 0.48;
    return hub
      ? { color: [0.6, 0.6, 0.62], gloss: 1.5, rough: 0.15 }
      : { color: [0.02, 0.02, 0.022], gloss: 0.3, rough: 0.4 };
  };
  return [
    body([x, y, z], 1.25, turnY(angle, cut(shell, arches)), paint),
    body([x, y, z], 1.2, turnY(angle, wheels), tyre),
  ];
}

function block(x, y, z, angle, color) {
  const wood = (px, py, pz, _nx, ny) => {
    const [u, v] = [Math.cos(angle) * px - Math.sin(angle) * pz, py];
    const grain = 0.85 + 0.3 * fbm(u * 3, v * 22, pz * 3, 3);
    const frame = Math.max(Math.abs(u), Math.abs(v)) > 0.31 || Math.abs(ny) > 0.5;
    const dye = frame ? color : mixColor(color, [0.85, 0.74, 0.55], 0.85);
    return { color: dye.map((value) => value * grain), gloss: 0.35, rough: 0.3 };
  };
  return [body([x, y, z], 0.75, turnY(angle, box(0.4, 0.4, 0.4, 0.06)), wood)];
}

function ball(x, y, z, r) {
  const stripes = (px, py, pz) => {
    const turn = Math.atan2(pz, px * 0.9 + py * 0.45) / (2 * Math.PI);
    const colors = [
      [0.72, 0.72, 0.7],
      [0.03, 0.2, 0.5],
      [0.72, 0.72, 0.7],
      [0.04, 0.4, 0.22],
      [0.72, 0.72, 0.7],
      [0.7, 0.3, 0.02],
    ];
    return { color: colors[Math.floor((turn + 1) * 6) % 6], gloss: 1, rough: 0.1 };
  };
  return [body([x, y, z], r + 0.02, sphere(r), stripes)];
}

function rings(x, y, z) {
  const colors = [
    [0.5, 0.03, 0.3],
    [0.75, 0.4, 0.02],
    [0.08, 0.42, 0.1],
    [0.03, 0.25, 0.55],
  ];
  const flat = (R, r) => turnX(Math.PI / 2, torus(R, r));
  return [
    ...colors.map((color, index) =>
      body(
        [x, y + 0.2 + index * 0.33, z],
        0.9,
        flat(0.5 - index * 0.075, 0.185 - index * 0.01),
        plain(color, 0.9, 0.14),
      ),
    ),
    body([x, y + 1.5, z], 0.4, sphere(0.22), plain([0.62, 0.03, 0.03], 0.9, 0.14)),
  ];
}

export const scene = {
  bodies: [
    plane((_, y) => y, carpet),
    plane(
      (_, __, z) => z + 4.6,
      (x, y, z) => {
        if (y < 0.5) return { color: [0.5, 0.49, 0.46], gloss: 0.3, rough: 0.3 };
        const { color } = plaster(x, y, z);
        return { color: mixColor(color, [0.1, 0.24, 0.25], 0.75), gloss: 0, rough: 1 };
      },
    ),
    ...bear(-0.5, 0.75, -1.5),
    ...duck(-2.05, 0.52, 0.75),
    ...car(0.55, 0.48, 1.25),
    ...block(1.75, 0.4, -1.1, 0.4, [0.05, 0.3, 0.12]),
    ...block(2.6, 0.4, -0.8, -0.3, [0.62, 0.32, 0.02]),
    ...block(2.1, 1.2, -0.95, 0.1, [0.04, 0.2, 0.48]),
    ...ball(2.35, 0.62, 0.95, 0.62),
    ...rings(-2.75, 0, -1.35),
  ],
  light: { direction: normal([-0.5, 0.78, 0.55]), size: 0.12, color: [2.7, 2.45, 2.1] },
  sky: (dx, dy, dz) => {
    const pane = dy > 0.35 && dx < 0.1 && dz > 0.1 && Math.abs(dx + 0.4) > 0.03;
    if (pane) return [1.7, 1.85, 2.05];
    const height = clamp(0.5 + dy * 0.5, 0, 1);
    return [0.42 * height + 0.08, 0.42 * height + 0.08, 0.44 * height + 0.08];
  },
  ground: [0.3, 0.29, 0.26],
  camera: { from: [0.1, 2.75, 7.3], to: [0, 0.72, -0.2], fov: 38 },
  exposure: 0.5,
};
