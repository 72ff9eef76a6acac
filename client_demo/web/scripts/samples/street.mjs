/** A street in the late afternoon: houses, cars, trees, a bench, a hydrant. */
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
  turnX,
  turnY,
  union,
} from "./shapes.mjs";
import { asphalt, plain } from "./surfaces.mjs";
import { normal } from "./tracer.mjs";

function ground(x, y, z) {
  if (z > -1.15) {
    const mark = Math.abs(z - 1.3) < 0.055 && (x + 40) % 1.9 < 1.1;
    return mark ? { color: [0.62, 0.6, 0.55], gloss: 0.1, rough: 0.5 } : asphalt(x, y, z);
  }
  const slab = Math.min(Math.abs(((x + 40) % 0.9) - 0.45), Math.abs(((z + 40) % 0.9) - 0.45));
  const joint = step(0, 0.02, 0.45 - slab > 0.43 ? 0 : 0.02);
  const stone = 0.3 + 0.08 * noise(x * 30, 0, z * 30) + 0.09 * fbm(x, 1, z);
  const tone = z > -1.32 ? 1.25 : 0.75 + 0.25 * joint;
  return { color: [stone * tone, stone * 0.97 * tone, stone * 0.91 * tone], gloss: 0, rough: 1 };
}

function house(left, right, height, color, depth = 0) {
  const [width, middle] = [right - left, (left + right) / 2];
  const front = -4.2 + depth;
  const columns = Math.max(1, Math.round(width / 1.25));
  const wall = (x, y, _z, _nx, _ny, nz) => {
    const [u, v] = [((x + width / 2) / width) * columns, (y + height) / 1.75];
    const [fu, fv] = [u - Math.floor(u) - 0.5, v - Math.floor(v) - 0.5];
    const storey = Math.floor(v);
    const isFront = nz > 0.5 && y < height - 0.35;
    if (isFront && storey >= 1 && Math.abs(fu) < 0.23 && Math.abs(fv) < 0.31) {
      const frame =
        Math.abs(fu) > 0.2 ||
        Math.abs(fv) > 0.285 ||
        Math.abs(fu) < 0.014 ||
        Math.abs(fv - 0.05) < 0.012;
      return frame
        ? { color: [0.7, 0.68, 0.63], gloss: 0.2, rough: 0.4 }
        : { color: [0.03, 0.04, 0.05], gloss: 2.4, rough: 0.03 };
    }
    if (isFront && storey === 0 && Math.abs(fu) < 0.3 && fv < 0.3) {
      const door = Math.floor(u) % 2 === 0;
      if (!door && fv > -0.25) return { color: [0.035, 0.04, 0.045], gloss: 2.2, rough: 0.04 };
      if (door && Math.abs(fu) < 0.2) return { color: [0.05, 0.13, 0.1], gloss: 0.8, rough: 0.2 };
    }
    const brick = brickwork(x, y, color);
    const band = Math.abs(fv + 0.5) < 0.035 || y > height - 0.3;
    return { color: band ? [0.62, 0.58, 0.5] : brick, gloss: 0, rough: 1 };
  };
  const cornice = at(0, height - 0.1, 0.08, box(width / 2 + 0.04, 0.12, 1.1));
  return body(
    [middle, height, front - 1],
    hypot(width / 2, height, 1.3) + 0.2,
    union(box(width / 2, height, 1), cornice),
    wall,
  );
}

function brickwork(x, y, color) {
  const row = Math.floor(y / 0.085);
  const u = (x + 40) / 0.25 + (row % 2) / 2;
  const mortar =
    Math.min(u - Math.floor(u), 1 - (u - Math.floor(u))) < 0.05 || y / 0.085 - row < 0.14;
  const tone = 0.78 + 0.4 * noise(Math.floor(u) * 3.7, row * 5.1, 2);
  return mortar ? color.map((value) => value * 0.6 + 0.13) : color.map((value) => value * tone);
}

function car(x, z, color, facing) {
  const shell = blend(
    0.16,
    box(1.15, 0.25, 0.5, 0.16),
    at(-0.1, 0.36, 0, box(0.62, 0.25, 0.41, 0.19)),
  );
  const hole = (wx) => at(wx, -0.2, 0, turnX(Math.PI / 2, cylinder(0.27, 0.8)));
  const wheel = (wx, wz) => at(wx, -0.2, wz, turnX(Math.PI / 2, cylinder(0.235, 0.09, 0.03)));
  const wheels = union(wheel(0.7, 0.42), wheel(-0.7, 0.42), wheel(0.7, -0.42), wheel(-0.7, -0.42));
  const paint = (wx, y, wz) => {
    const px = wx * facing;
    const glass = y > 0.25 && y < 0.53 && Math.abs(px + 0.02) > 0.04 && px > -0.72 && px < 0.56;
    if (glass) return { color: [0.025, 0.03, 0.035], gloss: 2.4, rough: 0.03 };
    if (px > 1.02 && Math.abs(Math.abs(wz) - 0.32) < 0.12 && Math.abs(y - 0.05) < 0.08)
      return { color: [0.85, 0.85, 0.8], gloss: 1.5, rough: 0.05 };
    if (px < -1.02 && Math.abs(Math.abs(wz) - 0.32) < 0.12 && Math.abs(y - 0.08) < 0.08)
      return { color: [0.5, 0.02, 0.015], gloss: 1.5, rough: 0.05 };
    const seam = Math.abs(Math.abs(px + 0.02) - 0.48) < 0.008 && y < 0.25 && Math.abs(wz) > 0.3;
    return seam || y < -0.17
      ? { color: [0.015, 0.015, 0.016], gloss: 0.3, rough: 0.4 }
      : { color, gloss: 2, rough: 0.05 };
  };
  const tyre = (wx, y, wz) => {
    const hub = hypot(Math.abs(wx) - 0.7, y + 0.2) < 0.14 && Math.abs(wz) > 0.48;
    return hub
      ? { color: [0.5, 0.5, 0.52], gloss: 1.6, rough: 0.12 }
      : { color: [0.018, 0.018, 0.02], gloss: 0.2, rough: 0.5 };
  };
  return [
    body([x, 0.44, z], 1.45, cut(shell, union(hole(0.7), hole(-0.7))), paint),
    body([x, 0.44, z], 1.2, wheels, tyre),
  ];
}

function tree(x, z, size) {
  const leaves = (px, py, pz) =>
    0.12 * size * fbm((px * 2.7) / size, (py * 2.7) / size, (pz * 2.7) / size, 3);
  const crown = blend(
    0.3,
    ellipsoid(0.85 * size, 0.72 * size, 0.8 * size),
    at(0.42 * size, -0.3 * size, 0.12, sphere(0.5 * size)),
    at(-0.45 * size, -0.22 * size, 0.05, sphere(0.52 * size)),
    at(0.1, 0.5 * size, 0, sphere(0.5 * size)),
  );
  const green = (px, py, pz) => {
    const patch = 0.6 * fbm(px * 5, py * 5, pz * 5, 3) + 0.45 * noise(px * 19, py * 19, pz * 19);
    return {
      color: mixColor([0.035, 0.085, 0.018], [0.26, 0.33, 0.07], patch * 0.9 + 0.15 * py),
      gloss: 0.1,
      rough: 0.6,
    };
  };
  const bark = (px, py, pz) => ({
    color: mixColor([0.09, 0.06, 0.04], [0.2, 0.15, 0.1], noise(px * 20, py * 4, pz * 20)),
    gloss: 0,
    rough: 1,
  });
  return [
    {
      ...body([x, 1.55 + 0.62 * size, z], 1.35 * size + 0.2, relief(crown, leaves), green),
      airy: true,
    },
    body([x, 0.8, z], 1.2, capsule(0, -0.9, 0, 0.04, 1, 0, 0.11, 0.07), bark),
  ];
}

function hydrant(x, z) {
  const trunk = blend(
    0.03,
    cylinder(0.13, 0.3, 0.03),
    at(0, 0.3, 0, sphere(0.145)),
    at(0, 0.44, 0, cylinder(0.04, 0.05)),
  );
  const arm = (angle) => turnY(angle, at(0.16, 0.12, 0, turnX(0, ellipsoid(0.1, 0.07, 0.07))));
  const foot = at(0, -0.29, 0, cylinder(0.18, 0.03, 0.01));
  return [
    body(
      [x, 0.44, z],
      0.7,
      union(blend(0.03, trunk, arm(0), arm(Math.PI), arm(-Math.PI / 2)), foot),
      plain([0.6, 0.035, 0.02], 1, 0.2),
    ),
  ];
}

function bench(x, z) {
  const slat = (y, dz) => at(0, y, dz, box(0.75, 0.022, 0.055, 0.015));
  const back = (y) => at(0, y, -0.22, box(0.75, 0.055, 0.02, 0.015));
  const wood = union(slat(0, 0.14), slat(0, 0), slat(0, -0.14), back(0.2), back(0.36));
  const leg = (side) =>
    union(
      at(0.6 * side, -0.2, 0, box(0.03, 0.2, 0.18, 0.01)),
      at(0.6 * side, 0.18, -0.25, box(0.03, 0.25, 0.02, 0.01)),
    );
  return [
    body([x, 0.52, z], 1.05, wood, (px, y, pz) => ({
      color: [0.36, 0.2, 0.09].map((value) => value * (0.75 + 0.5 * fbm(px * 2, y * 20, pz * 20))),
      gloss: 0.3,
      rough: 0.3,
    })),
    body([x, 0.52, z], 1.05, union(leg(1), leg(-1)), plain([0.03, 0.03, 0.035], 0.8, 0.2)),
  ];
}

function lamp(x, z) {
  const post = union(
    capsule(0, 0, 0, 0, 2.7, 0, 0.055, 0.035),
    at(0, 0.15, 0, cylinder(0.1, 0.15, 0.03)),
  );
  const head = union(
    at(0, 2.98, 0, cylinder(0.15, 0.02)),
    at(0, 3.06, 0, sphere(0.06)),
    at(0, 2.68, 0, cylinder(0.1, 0.02)),
  );
  return [
    body([x, 0, z], 3.2, union(post, head), plain([0.025, 0.035, 0.035], 1.2, 0.15)),
    body([x, 2.83, z], 0.3, ellipsoid(0.11, 0.13, 0.11), plain([0.8, 0.72, 0.5], 1.2, 0.1)),
  ];
}

export const scene = {
  bodies: [
    plane((_, y, z) => y - (z < -1.15 ? 0.11 : 0), ground),
    house(-6.6, -3.05, 2.9, [0.42, 0.16, 0.1]),
    house(-3.05, -0.35, 3.4, [0.5, 0.42, 0.28], 0.05),
    house(-0.35, 2.5, 2.75, [0.26, 0.3, 0.33]),
    house(2.5, 6.8, 3.2, [0.45, 0.2, 0.14], 0.05),
    ...car(-1.75, -0.55, [0.02, 0.16, 0.3], 1),
    ...car(1.55, -0.5, [0.66, 0.42, 0.03], 1),
    ...tree(-3.35, -1.75, 1.1),
    ...tree(3.45, -1.8, 1.2),
    ...bench(0.1, -2.2),
    ...hydrant(3.0, -1.42),
    ...lamp(-0.25 + 0.95, -1.55),
  ],
  light: { direction: normal([-0.62, 0.6, 0.72]), size: 0.13, color: [4.1, 3.1, 2.05] },
  sky: (dx, dy, dz) => {
    const height = clamp(dy * 1.4, 0, 1);
    const cloud = step(
      0.48,
      0.72,
      fbm((dx / (dy + 0.25)) * 1.6 + 3, 1.5, (dz / (dy + 0.25)) * 1.6, 5),
    );
    const blue = mixColor([0.82, 0.8, 0.76], [0.24, 0.42, 0.72], height ** 0.6);
    return mixColor(blue, [1.05, 1, 0.95], cloud * 0.75);
  },
  ground: [0.14, 0.13, 0.12],
  camera: { from: [0, 1.75, 7.4], to: [0.05, 1.28, -1], fov: 40 },
  exposure: 0.5,
};
