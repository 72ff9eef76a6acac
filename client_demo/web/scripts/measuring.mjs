/** What the measuring scripts share: a browser, a picture, numbers. */
import { chromium } from "playwright-core";

export const URL_UNDER_TEST = process.argv[2] ?? "http://localhost:8000/";

export async function openPage() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"],
  });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  return { browser, page };
}

/** Have the page itself draw a photo-like picture, and pick it. */
export async function pickPicture(page, width, height) {
  const base64 = await page.evaluate(drawPicture, [width, height]);
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Choose photos" }).click();
  const buffer = Buffer.from(base64, "base64");
  await (await chooser).setFiles([{ name: "measured.jpg", mimeType: "image/jpeg", buffer }]);
  await page.locator(".context").waitFor();
  await page.waitForFunction(() => !document.querySelector(".progress"), null, {
    timeout: 120_000,
  });
}

async function drawPicture([width, height]) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = "#b9b0a0";
  context.fillRect(0, 0, width, height);
  for (let index = 0; index < 60; index++) {
    const [x, y] = [((index * 137) % 100) * (width / 100), ((index * 61) % 100) * (height / 100)];
    context.fillStyle = `hsl(${(index * 47) % 360} 60% ${30 + ((index * 7) % 45)}%)`;
    context.beginPath();
    context.ellipse(x, y, width / 14, height / 11, index, 0, 7);
    context.fill();
  }
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  const round = (value) => Math.round(value * 10) / 10;
  return { count: sorted.length, median: round(at(0.5)), p95: round(at(0.95)), max: round(at(1)) };
}
