/**
 * The pictures of the page in docs/: `node scripts/screenshots.mjs [url]`, against a server with
 * the bundled model.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const url = process.argv[2] ?? "http://localhost:8000/";
const folder = new URL("../../../docs/images/", import.meta.url);
const DESKTOP = { viewport: { width: 1440, height: 900 } };
const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  hasTouch: true,
  isMobile: true,
};

const SHOTS = [
  { name: "canvas-light", options: { ...DESKTOP, colorScheme: "light" }, sample: "Still life" },
  { name: "canvas-dark", options: { ...DESKTOP, colorScheme: "dark" }, sample: "Toys" },
  { name: "phone-light", options: { ...PHONE, colorScheme: "light" }, sample: "Toys" },
  { name: "phone-dark", options: { ...PHONE, colorScheme: "dark" }, sample: "Still life" },
];

/**
 * Where things are in the samples, in shares of width and height: a point, a second one that helps
 * it, or two corners of a box.
 */
const THINGS = {
  "Still life": [
    ["apple", [0.64, 0.63]],
    ["lemon", [0.81, 0.68]],
    ["mug", [0.77, 0.5], [0.72, 0.44]],
    ["pear", [0.16, 0.58], [0.17, 0.44]],
  ],
  Toys: [
    ["ball", [0.93, 0.5], [0.97, 0.62]],
    ["bear", [0.44, 0.42], [0.44, 0.27]],
    ["duck", [0.04, 0.345, 0.295, 0.715]],
    ["car", [0.58, 0.66], [0.51, 0.56]],
  ],
};

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"],
});
const converter = await browser.newPage();
for (const shot of SHOTS) await take(shot);
await browser.close();

async function take({ name, options, sample }) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(url);
  await page.getByRole("button", { name: sample }).click();
  await page.locator(".context").waitFor();
  await page.waitForFunction(() => !document.querySelector(".progress"), null, { timeout: 60_000 });
  const things = THINGS[sample];
  for (const [index, [label, ...points]] of things.entries()) {
    for (const place of points) await show(page, options.hasTouch, place);
    if (index < things.length - 1) {
      await page.locator("#object-name").fill(label);
      await page.getByRole("button", { name: "Keep" }).click();
    } else {
      await page.locator("#object-name").fill(label);
      await page.locator("#object-name").blur();
    }
  }
  await page.mouse.move(1, 1);
  await page.waitForTimeout(400); // for what fades in
  writeFileSync(new URL(`${name}.webp`, folder), await webp(await page.screenshot(), options));
  await context.close();
}

async function show(page, touch, [u, v, ...corner]) {
  const box = await page.locator(".picture").boundingBox();
  const at = (u, v) => [box.x + u * box.width, box.y + v * box.height];
  if (corner.length > 0) await drag(page.mouse, at(u, v), at(...corner));
  else if (touch) await page.touchscreen.tap(...at(u, v));
  else await page.mouse.click(...at(u, v));
  await page.waitForFunction(() => !document.querySelector(".spinner"), null, { timeout: 30_000 });
  await page.waitForTimeout(100);
}

async function drag(mouse, from, to) {
  await mouse.move(...from);
  await mouse.down();
  await mouse.move(...to, { steps: 5 });
  await mouse.up();
}

async function webp(png) {
  const base64 = await converter.evaluate(async (data) => {
    const bitmap = await createImageBitmap(
      await (await fetch(`data:image/png;base64,${data}`)).blob(),
    );
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/webp", quality: 0.86 });
    const bytes = new Uint8Array(await blob.arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  }, png.toString("base64"));
  return Buffer.from(base64, "base64");
}
