/** What bodies are made of. */
import { fbm, mix, mixColor, noise, step } from "./math.mjs";

export const plain =
  (color, gloss = 0, rough = 0.3) =>
  () => ({ color, gloss, rough });

/** Colour that varies softly, as everything grown or used does. */
export const mottled =
  (a, b, scale, gloss = 0, rough = 0.3) =>
  (x, y, z) => ({
    color: mixColor(a, b, step(0.25, 0.7, fbm(x * scale, y * scale, z * scale))),
    gloss,
    rough,
  });

/** Planks along x. */
export function planks(x, _, z) {
  const plank = Math.floor(z / 0.62);
  const across = z / 0.62 - plank;
  const grain = fbm(x * 1.1 + plank * 7.3, plank * 3.1, z * 16, 4);
  const rings = 0.5 + 0.5 * Math.sin((grain * 9 + x * 0.25) * 5);
  const tone = mix(0.75, 1.12, noise(plank * 5.5, 1.5, 2.5));
  const base = mixColor([0.34, 0.185, 0.085], [0.2, 0.1, 0.045], rings * 0.5 + grain * 0.35);
  const gap = step(0, 0.022, Math.min(across, 1 - across));
  return { color: base.map((value) => value * tone * mix(0.25, 1, gap)), gloss: 0.2, rough: 0.3 };
}

export function plaster(x, y, z) {
  const stain = fbm(x * 0.7, y * 0.7, z * 0.7, 5);
  return { color: mixColor([0.5, 0.53, 0.5], [0.4, 0.43, 0.42], stain), gloss: 0, rough: 1 };
}

export function carpet(x, _, z) {
  const tuft = noise(x * 38, 0.5, z * 38);
  const pattern =
    Math.abs(((x + z) * 0.55) % 1) < 0.5 !== Math.abs(((x - z + 40) * 0.55) % 1) < 0.5;
  const base = pattern ? [0.46, 0.36, 0.25] : [0.16, 0.21, 0.25];
  return { color: base.map((value) => value * mix(0.72, 1.08, tuft)), gloss: 0, rough: 1 };
}

export function asphalt(x, _, z) {
  const grit = noise(x * 60, 0, z * 60);
  const patch = fbm(x * 0.5, 3, z * 0.5);
  const shade = 0.075 + 0.05 * grit + 0.05 * patch;
  return { color: [shade, shade, shade * 1.05], gloss: 0.15, rough: 0.5 };
}
