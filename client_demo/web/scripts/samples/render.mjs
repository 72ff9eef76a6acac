/**
 * Draw the sample pictures into public/samples: `node scripts/samples/render.mjs [name ...]`.
 *
 * Minutes each on one core. Their encoding to WebP is Chromium's. `--quick` draws small and noisy.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { render } from "./tracer.mjs";

const NAMES = ["still-life", "toys", "street"];
const FULL = { width: 1024, height: 768 };
const QUICK = { width: 320, height: 240 };
const SMALL = { width: 432, height: 324 };

const args = process.argv.slice(2);
const quick = args.includes("--quick");
const wanted = args.filter((name) => NAMES.includes(name));
const folder = new URL("../../public/samples/", import.meta.url);
mkdirSync(folder, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless=new", "--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage();

/** RGB bytes to WebP at another size. */
async function encode(pixels, from, to, quality) {
  const base64 = Buffer.from(pixels).toString("base64");
  const encoded = await page.evaluate(
    async ([data, width, height, outWidth, outHeight, outQuality]) => {
      const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
      const image = new ImageData(width, height);
      for (let at = 0; at < width * height; at++) {
        for (let c = 0; c < 3; c++) image.data[at * 4 + c] = bytes[at * 3 + c];
        image.data[at * 4 + 3] = 255;
      }
      const bitmap = await createImageBitmap(image);
      const canvas = new OffscreenCanvas(outWidth, outHeight);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, outWidth, outHeight);
      const blob = await canvas.convertToBlob({ type: "image/webp", quality: outQuality });
      const out = new Uint8Array(await blob.arrayBuffer());
      return Array.from(out, (byte) => String.fromCharCode(byte)).join("");
    },
    [base64, from.width, from.height, to.width, to.height, quality],
  );
  return Buffer.from(encoded, "latin1");
}

for (const name of wanted.length > 0 ? wanted : NAMES) {
  const { scene } = await import(`./${name}.mjs`);
  const size = quick ? QUICK : FULL;
  const started = performance.now();
  const pixels = render(scene, size.width, size.height, quick ? 0 : 6);
  writeFileSync(new URL(`${name}.webp`, folder), await encode(pixels, size, size, 0.88));
  writeFileSync(new URL(`${name}-small.webp`, folder), await encode(pixels, size, SMALL, 0.8));
  console.log(name, `${Math.round((performance.now() - started) / 1000)} s`);
}
await browser.close();
