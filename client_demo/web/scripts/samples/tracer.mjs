/**
 * A small ray marcher over signed distances: one light with soft shadows, a sky that corners get
 * less of, light thrown back by the ground, glossy reflections. Nothing in it is random but the
 * grain, so a sample a pixel is enough except along edges. Slow and pretty; run once, offline.
 *
 * A scene: { bodies, light: { direction, size, color }, sky(dx, dy, dz), ground, camera,
 * exposure }. A body: { x, y, z, reach, distance(x, y, z), surface(x, y, z, nx, ny, nz) }, its
 * surface { color, gloss, rough }; an `airy` one throws no shadow on itself.
 */
import { createRandom, hypot } from "./math.mjs";

const NEAR = 0.0012;
const FAR = 60;
const STEPS = 110;

export function render(scene, width, height, extra = 6) {
  const random = createRandom(11);
  const world = createWorld(scene);
  const shoot = createCamera(scene.camera, width, height);
  const exposed = (px, py) => {
    const shade = vignette(px / width, py / height) * scene.exposure;
    return world.radiance(...shoot(px, py)).map((value) => film(value * shade));
  };
  const rows = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (__, x) => exposed(x + 0.5, y + 0.5)),
  );
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const color = isEdge(rows, x, y) ? smoothed(rows[y][x], exposed, x, y, extra) : rows[y][x];
      const grain = (random() + random() - 1) * 0.014;
      for (let c = 0; c < 3; c++) {
        pixels[(y * width + x) * 3 + c] = 255.99 * Math.min(1, Math.max(0, color[c] + grain));
      }
    }
  }
  return pixels;
}

/** More samples on a spiral, averaged as the display shows them: no glint outshines an edge. */
function smoothed(first, exposed, x, y, extra) {
  const sum = [...first];
  for (let index = 1; index <= extra; index++) {
    const angle = index * 2.39996;
    const radius = 0.62 * Math.sqrt(index / extra);
    const more = exposed(x + 0.5 + radius * Math.cos(angle), y + 0.5 + radius * Math.sin(angle));
    for (let c = 0; c < 3; c++) sum[c] += more[c];
  }
  return sum.map((value) => value / (extra + 1));
}

function isEdge(rows, x, y) {
  const here = rows[y][x];
  const differs = (other) => other && here.some((value, c) => Math.abs(value - other[c]) > 0.05);
  return [rows[y - 1]?.[x], rows[y + 1]?.[x], rows[y][x - 1], rows[y][x + 1]].some(differs);
}

function vignette(u, v) {
  return 1 - 0.35 * ((u - 0.5) ** 2 + (v - 0.5) ** 2);
}

/** Narkowicz's fit of the ACES curve, then the display's gamma. */
function film(x) {
  const mapped = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
  return Math.min(1, Math.max(0, mapped)) ** (1 / 2.2);
}

function createCamera({ from, to, fov }, width, height) {
  const forward = normal(to.map((value, index) => value - from[index]));
  const right = normal([-forward[2], 0, forward[0]]);
  const up = cross(right, forward);
  const zoom = Math.tan((fov * Math.PI) / 360);
  return (px, py) => {
    const u = ((2 * px - width) / height) * zoom;
    const v = ((height - 2 * py) / height) * zoom;
    return [from, normal(forward.map((value, i) => value + u * right[i] + v * up[i]))];
  };
}

function createWorld({ bodies, light, sky, ground }) {
  /** The nearest surface along a ray, or null. Written flat: this is where the time goes. */
  function hit(ox, oy, oz, dx, dy, dz, far) {
    let t = NEAR * 4;
    for (let count = 0; count < STEPS && t < far; count++) {
      const x = ox + dx * t;
      const y = oy + dy * t;
      const z = oz + dz * t;
      let nearest = far;
      let found = null;
      for (let index = 0; index < bodies.length; index++) {
        const body = bodies[index];
        const cx = x - body.x;
        const cy = y - body.y;
        const cz = z - body.z;
        const bound = nearest + body.reach;
        const apart = cx * cx + cy * cy + cz * cz;
        if (bound > 0 && apart > bound * bound) continue;
        const outer = Math.sqrt(apart) - body.reach;
        const distance = outer > 0.4 ? outer : body.distance(x, y, z);
        if (distance < nearest) {
          nearest = distance;
          found = body;
        }
      }
      if (nearest < NEAR * (1 + t * 0.25)) return { body: found, x, y, z, t };
      t += nearest * 0.95;
    }
    return null;
  }

  /** How far the nearest surface is, up to `limit`. */
  function clearance(x, y, z, limit, without) {
    let nearest = limit;
    for (let index = 0; index < bodies.length; index++) {
      const body = bodies[index];
      const cx = x - body.x;
      const cy = y - body.y;
      const cz = z - body.z;
      const bound = nearest + body.reach;
      if (body === without) continue;
      if (cx * cx + cy * cy + cz * cz < bound * bound) {
        nearest = Math.min(nearest, body.distance(x, y, z));
      }
    }
    return nearest;
  }

  function radiance(from, d) {
    const first = hit(from[0], from[1], from[2], d[0], d[1], d[2], FAR);
    if (!first) return sky(d[0], d[1], d[2]);
    const n = surfaceNormal(first.body, first.x, first.y, first.z);
    const { color, gloss = 0, rough = 0.3 } = surfaceOf(first, n);
    const sum = lit(first, n, color, true);
    if (gloss > 0) add(sum, mirrored(first, n, d, gloss, rough));
    return sum;
  }

  const surfaceOf = ({ body, x, y, z }, n) => body.surface(x, y, z, n[0], n[1], n[2]);

  /** What a matt surface sends back: lamp, sky and ground. */
  function lit(place, n, color, careful) {
    const facing = Math.max(0, dot(n, light.direction));
    const lamp = facing > 0 ? facing * shadow(place, n) : 0;
    const open = careful ? openness(place, n) : 0.7;
    const above = sky(n[0] * 0.4, Math.max(0.15, n[1]) + 0.3, n[2] * 0.4);
    const below = 0.5 - 0.5 * n[1];
    return color.map((value, c) => {
      const around = above[c] * (1 - below * 0.75) + ground[c] * light.color[c] * below * 0.55;
      return value * (lamp * light.color[c] + around * open);
    });
  }

  /** 1 in full light, 0 in full shadow; the softer the farther what throws it. */
  function shadow({ x, y, z, body }, n) {
    const [lx, ly, lz] = light.direction;
    let clear = 1;
    let t = 0.02;
    for (let count = 0; count < 60 && t < 9; count++) {
      const lift = NEAR * 4;
      const px = x + n[0] * lift + lx * t;
      const py = y + n[1] * lift + ly * t;
      const d = clearance(px, py, z + n[2] * lift + lz * t, 1, body.airy ? body : null);
      if (d < NEAR * 0.5) return 0;
      clear = Math.min(clear, d / (light.size * t));
      t += Math.max(0.012, d * 0.9);
    }
    return clear * clear * (3 - 2 * clear);
  }

  /** How much of the sky a point sees: less in corners and under things. */
  function openness({ x, y, z }, n) {
    let taken = 0;
    let weight = 0.85;
    for (let index = 1; index <= 5; index++) {
      const reach = 0.04 + 0.085 * index * index * 0.5;
      const d = clearance(x + n[0] * reach, y + n[1] * reach, z + n[2] * reach, reach);
      taken += weight * (1 - d / reach);
      weight *= 0.62;
    }
    return Math.max(0.08, 1 - 0.52 * taken);
  }

  function mirrored(place, n, d, gloss, rough) {
    const facing = -dot(n, d);
    const fresnel = gloss * (0.04 + 0.96 * (1 - Math.max(0, facing)) ** 5);
    const r = normal(d.map((value, i) => value + 2 * facing * n[i]));
    const lift = NEAR * 8;
    const { x, y, z } = place;
    const next = hit(x + n[0] * lift, y + n[1] * lift, z + n[2] * lift, r[0], r[1], r[2], 12);
    const came = next ? reflection(next) : sky(r[0], r[1], r[2]);
    const glint = Math.max(0, dot(r, light.direction)) ** (1.5 / (rough * rough + 0.0015));
    const bright = glint > 0.01 ? glint * shadow(place, n) * 1.6 : 0;
    return came.map(
      (value, c) => fresnel * Math.min(value, 4) + gloss * 0.12 * bright * light.color[c],
    );
  }

  function reflection(next) {
    const m = surfaceNormal(next.body, next.x, next.y, next.z);
    return lit(next, m, surfaceOf(next, m).color, false);
  }

  function surfaceNormal(body, x, y, z) {
    const e = 0.0015;
    const a = body.distance(x + e, y - e, z - e);
    const b = body.distance(x - e, y - e, z + e);
    const c = body.distance(x - e, y + e, z - e);
    const d = body.distance(x + e, y + e, z + e);
    return normal([a - b - c + d, -a - b + c + d, -a + b - c + d]);
  }

  return { radiance };
}

function add(sum, other) {
  for (let c = 0; c < 3; c++) sum[c] += other[c];
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function normal(v) {
  const length = hypot(v[0], v[1], v[2]) || 1;
  return [v[0] / length, v[1] / length, v[2] / length];
}
