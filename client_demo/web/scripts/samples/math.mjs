/** Noise and the few vector helpers that scenes and tracer share. */

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const mix = (a, b, t) => a + (b - a) * t;
export const mixColor = (a, b, t) => [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)];
export const step = (low, high, value) => {
  const t = clamp((value - low) / (high - low), 0, 1);
  return t * t * (3 - 2 * t);
};

/** A number in 0..1 from three integers, always the same. */
function hash(x, y, z) {
  let h = (x * 374761393 + y * 668265263 + z * 2147483647) | 0;
  h = Math.imul(h ^ (h >>> 13), 1274126177);
  return ((h ^ (h >>> 16)) >>> 0) / 4294967296;
}

/** Smooth value noise, 0..1. */
export function noise(x, y, z) {
  const [xi, yi, zi] = [Math.floor(x), Math.floor(y), Math.floor(z)];
  const [u, v, w] = [fade(x - xi), fade(y - yi), fade(z - zi)];
  const edge = (dy, dz) => mix(hash(xi, yi + dy, zi + dz), hash(xi + 1, yi + dy, zi + dz), u);
  return mix(mix(edge(0, 0), edge(1, 0), v), mix(edge(0, 1), edge(1, 1), v), w);
}

const fade = (t) => t * t * (3 - 2 * t);

export function fbm(x, y, z, octaves = 4) {
  let [sum, weight] = [0, 0.5];
  for (let octave = 0; octave < octaves; octave++) {
    sum += weight * noise(x, y, z);
    [x, y, z, weight] = [x * 2.03 + 5.1, y * 2.03 + 1.7, z * 2.03 + 9.2, weight / 2];
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
