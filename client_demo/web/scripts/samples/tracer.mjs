/**
 * A small path tracer over signed distances: one light with a soft edge, a sky, one bounce of
 * light from surface to surface, glossy reflections, a lens. Slow and pretty; run once, offline.
 *
 * A scene: { bodies, light: { direction, size, color }, sky(dx, dy, dz), camera }. A body:
 * { center, reach, distance(x, y, z), surface(x, y, z, nx, ny, nz) -> { color, gloss, rough } }.
 */
import { createRandom } from "./math.mjs";

const NEAR = 0.0012;
const FAR = 60;
const STEPS = 110;

export function render(scene, width, height, samples, onRow = () => {}) {
  const random = createRandom(11);
  const world = createWorld(scene, random);
  const shoot = createCamera(scene.camera, width, height, random);
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0];
      for (let sample = 0; sample < samples; sample++) {
        const ray = shoot(x + random(), y + random());
        const light = world.radiance(ray);
        // One glint must not outshine all other samples of its pixel.
        for (let c = 0; c < 3; c++) sum[c] += Math.min(light[c], 6);
      }
      const shade = vignette(x / width, y / height) * (scene.exposure ?? 1);
      for (let c = 0; c < 3; c++) {
        const grain = (random() - 0.5) * 0.012;
        pixels[(y * width + x) * 3 + c] = 255.99 * film((sum[c] / samples) * shade, grain);
      }
    }
    onRow(y);
  }
  return pixels;
}

function vignette(u, v) {
  return 1 - 0.35 * ((u - 0.5) ** 2 + (v - 0.5) ** 2);
}

/** Narkowicz's fit of the ACES curve, then the display's gamma. */
function film(x, grain) {
  const mapped = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
  return Math.min(1, Math.max(0, Math.max(0, mapped) ** (1 / 2.2) + grain));
}

function createCamera({ from, to, fov, focus, lens }, width, height, random) {
  const forward = normal(to.map((value, index) => value - from[index]));
  const right = normal([-forward[2], 0, forward[0]]);
  const up = cross(right, forward);
  const zoom = Math.tan((fov * Math.PI) / 360);
  return (px, py) => {
    const u = ((2 * px - width) / height) * zoom;
    const v = ((height - 2 * py) / height) * zoom;
    const angle = random() * 2 * Math.PI;
    const radius = Math.sqrt(random()) * lens;
    const [lx, ly] = [Math.cos(angle) * radius, Math.sin(angle) * radius];
    const origin = from.map((value, i) => value + right[i] * lx + up[i] * ly);
    const target = from.map((value, i) => value + focus * (forward[i] + u * right[i] + v * up[i]));
    return { origin, direction: normal(target.map((value, i) => value - origin[i])) };
  };
}

function createWorld({ bodies, light, sky }, random) {
  /** The nearest surface along a ray, or null. */
  function hit(ox, oy, oz, dx, dy, dz, far) {
    let t = NEAR * 4;
    for (let count = 0; count < STEPS && t < far; count++) {
      const [x, y, z] = [ox + dx * t, oy + dy * t, oz + dz * t];
      let nearest = far;
      let found = null;
      for (const body of bodies) {
        const [cx, cy, cz] = body.center;
        const outer = Math.hypot(x - cx, y - cy, z - cz) - body.reach;
        if (outer > nearest) continue;
        const distance = outer > 0.4 ? outer : body.distance(x, y, z);
        if (distance < nearest) {
          nearest = distance;
          found = body;
        }
      }
      if (nearest < NEAR * (1 + t * 0.25)) return { body: found, x, y, z, t };
      t += nearest * 0.92;
    }
    return null;
  }

  function radiance({ origin: [ox, oy, oz], direction: [dx, dy, dz] }) {
    const first = hit(ox, oy, oz, dx, dy, dz, FAR);
    if (!first) return sky(dx, dy, dz);
    const { body, x, y, z } = first;
    const n = surfaceNormal(body, x, y, z);
    const { color, gloss = 0, rough = 0.3, glow } = body.surface(x, y, z, ...n);
    if (glow) return glow;
    const sum = direct(x, y, z, n, color);
    add(sum, bounced(x, y, z, n, color));
    if (gloss > 0) add(sum, mirrored(x, y, z, n, [dx, dy, dz], gloss, rough));
    return sum;
  }

  /** Light that arrives straight from the lamp. */
  function direct(x, y, z, n, color) {
    const l = jitter(light.direction, light.size);
    const facing = dot(n, l);
    if (facing <= 0) return [0, 0, 0];
    const lift = NEAR * 6;
    if (hit(x + n[0] * lift, y + n[1] * lift, z + n[2] * lift, ...l, 14)) return [0, 0, 0];
    return color.map((value, c) => value * facing * light.color[c]);
  }

  /** Light that comes from the sky or from one other surface. */
  function bounced(x, y, z, n, color) {
    const d = aroundNormal(n);
    const came = incoming(x, y, z, n, d);
    return color.map((value, c) => value * came[c]);
  }

  function incoming(x, y, z, n, d) {
    const lift = NEAR * 6;
    const next = hit(x + n[0] * lift, y + n[1] * lift, z + n[2] * lift, ...d, 14);
    if (!next) return sky(...d);
    const m = surfaceNormal(next.body, next.x, next.y, next.z);
    const { color, glow } = next.body.surface(next.x, next.y, next.z, ...m);
    if (glow) return glow;
    const sum = direct(next.x, next.y, next.z, m, color);
    const ambient = sky(m[0] * 0.5, Math.abs(m[1]) * 0.5 + 0.5, m[2] * 0.5);
    return sum.map((value, c) => value + color[c] * ambient[c] * 0.3);
  }

  function mirrored(x, y, z, n, d, gloss, rough) {
    const facing = -dot(n, d);
    const fresnel = gloss * (0.04 + 0.96 * (1 - Math.max(0, facing)) ** 5);
    const r = jitter(normal(d.map((value, i) => value + 2 * facing * n[i])), rough);
    if (dot(r, n) <= 0) return [0, 0, 0];
    const came = incoming(x, y, z, n, r);
    const glint = Math.max(0, dot(r, light.direction)) ** (2 / (rough * rough + 0.002));
    return came.map((value, c) => fresnel * (value + glint * light.color[c] * 2));
  }

  function surfaceNormal({ distance }, x, y, z) {
    const e = 0.0015;
    const a = distance(x + e, y - e, z - e);
    const b = distance(x - e, y - e, z + e);
    const c = distance(x - e, y + e, z - e);
    const d = distance(x + e, y + e, z + e);
    return normal([a - b - c + d, -a - b + c + d, -a + b - c + d]);
  }

  /** A direction within `size` of another. */
  function jitter([x, y, z], size) {
    const s = () => (random() + random() + random() - 1.5) * size;
    return normal([x + s(), y + s(), z + s()]);
  }

  function aroundNormal(n) {
    const z = random() * 2 - 1;
    const angle = random() * 2 * Math.PI;
    const r = Math.sqrt(1 - z * z);
    return normal([n[0] + r * Math.cos(angle), n[1] + r * Math.sin(angle), n[2] + z * 0.999]);
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
  const length = Math.hypot(v[0], v[1], v[2]) || 1;
  return [v[0] / length, v[1] / length, v[2] / length];
}
