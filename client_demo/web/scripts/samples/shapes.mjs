/** Signed distances of simple bodies, and how to join and place them. */
import { clamp, hypot, mix } from "./math.mjs";

export const sphere = (r) => (x, y, z) => hypot(x, y, z) - r;

/** Not exact, but never too far: good enough to march along. */
export const ellipsoid = (a, b, c) => (x, y, z) => {
  const k0 = hypot(x / a, y / b, z / c);
  const k1 = hypot(x / (a * a), y / (b * b), z / (c * c));
  return k1 === 0 ? -Math.min(a, b, c) : (k0 * (k0 - 1)) / k1;
};

export const box =
  (a, b, c, round = 0) =>
  (x, y, z) => {
    const [qx, qy, qz] = [
      Math.abs(x) - a + round,
      Math.abs(y) - b + round,
      Math.abs(z) - c + round,
    ];
    const outside = hypot(Math.max(qx, 0), Math.max(qy, 0), Math.max(qz, 0));
    return outside + Math.min(Math.max(qx, qy, qz), 0) - round;
  };

/** Upright, centred. */
export const cylinder =
  (r, h, round = 0) =>
  (x, y, z) => {
    const [dx, dy] = [hypot(x, z) - r + round, Math.abs(y) - h + round];
    return Math.min(Math.max(dx, dy), 0) + hypot(Math.max(dx, 0), Math.max(dy, 0)) - round;
  };

export const torus = (R, r) => (x, y, z) => hypot(hypot(x, y) - R, z) - r;

export const capsule = (ax, ay, az, bx, by, bz, ra, rb = ra) => {
  const [dx, dy, dz] = [bx - ax, by - ay, bz - az];
  const length = dx * dx + dy * dy + dz * dz;
  return (x, y, z) => {
    const t = clamp(((x - ax) * dx + (y - ay) * dy + (z - az) * dz) / length, 0, 1);
    return hypot(x - ax - t * dx, y - ay - t * dy, z - az - t * dz) - mix(ra, rb, t);
  };
};

/** A profile of [radius, height] pairs turned round the upright axis, walls `wall` thick. */
export const turned = (profile, wall) => (x, y, z) => {
  const r = hypot(x, z);
  let best = Number.POSITIVE_INFINITY;
  for (let index = 0; index + 1 < profile.length; index++) {
    const [[ar, ay], [br, by]] = [profile[index], profile[index + 1]];
    const [dr, dy] = [br - ar, by - ay];
    const t = clamp(((r - ar) * dr + (y - ay) * dy) / (dr * dr + dy * dy), 0, 1);
    best = Math.min(best, hypot(r - ar - t * dr, y - ay - t * dy));
  }
  return best - wall;
};

export const union =
  (...parts) =>
  (x, y, z) => {
    let best = Number.POSITIVE_INFINITY;
    for (const part of parts) best = Math.min(best, part(x, y, z));
    return best;
  };

export const blend =
  (k, ...parts) =>
  (x, y, z) => {
    let best = parts[0](x, y, z);
    for (let index = 1; index < parts.length; index++) {
      const other = parts[index](x, y, z);
      const h = clamp(0.5 + (0.5 * (other - best)) / k, 0, 1);
      best = mix(other, best, h) - k * h * (1 - h);
    }
    return best;
  };

export const cut = (whole, hole) => (x, y, z) => Math.max(whole(x, y, z), -hole(x, y, z));

export const at = (dx, dy, dz, part) => (x, y, z) => part(x - dx, y - dy, z - dz);

export const turnY = (angle, part) => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return (x, y, z) => part(c * x - s * z, y, s * x + c * z);
};

export const turnX = (angle, part) => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return (x, y, z) => part(x, c * y - s * z, s * y + c * z);
};

export const turnZ = (angle, part) => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return (x, y, z) => part(c * x - s * y, s * x + c * y, z);
};

/** A surface with relief: `height` must change slowly for the march to stay safe. */
export const relief = (part, height) => (x, y, z) => {
  const d = part(x, y, z);
  return d > 0.25 ? d : (d - height(x, y, z)) * 0.75;
};
