/** Noise and the few vector helpers that scenes and tracer share. */

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const mix = (a, b, t) => a + (b - a) * t;
export const mixColor = (a, b, t) => [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)];
export const step = (low, high, value) => {
  const t = clamp((value - low) / (high - low), 0, 1);
  return t * t * (3 - 2 * t);
};

/** `Math.hypot` guards against overflow, at ten times the price. */
export const hypot = (x, y, z = 0) => Math.sqrt(x * x + y * y + z * z);

/** A number in 0..1 from three integers, always the same. */
function hash(x, y, z) {
  let h = (x * 374761393 + y * 668265263 + z * 2147483647) | 0;
  h = Math.imul(h ^ (h >>> 13), 1274126177);
  return ((h ^ (h >>> 16)) >>> 0) / 4294967296;
}

/** Smooth value noise, 0..1. */
export function noise(x, y, z) {
  const xi = Math.floor(x);
  const yi = Math.floor(y);
  const zi = Math.floor(z);
  const u = fade(x - xi);
  const v = fade(y - yi);
  const near = mix(edge(xi, yi, zi, u), edge(xi, yi + 1, zi, u), v);
  return mix(near, mix(edge(xi, yi, zi + 1, u), edge(xi, yi + 1, zi + 1, u), v), fade(z - zi));
}

const edge = (x, y, z, u) => mix(hash(x, y, z), hash(x + 1, y, z), u);

const fade = (t) => t * t * (3 - 2 * t);

export function fbm(x, y, z, octaves = 4) {
  let sum = 0;
  let weight = 0.5;
  for (let octave = 0; octave < octaves; octave++) {
    sum += weight * noise(x, y, z);
    x = x * 2.03 + 5.1;
    y = y * 2.03 + 1.7;
    z = z * 2.03 + 9.2;
    weight /= 2;
  }
  return sum;
}

/** A repeatable stream of numbers in 0..1. */
export function createRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
