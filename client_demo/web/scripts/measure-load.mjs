/**
 * First paint with a warm server, and the page's compressed size:
 * `node scripts/measure-load.mjs [url]`. Bars: <= 1 s and <= 150 kB.
 */
import { gzipSync } from "node:zlib";
import { openPage, summary, URL_UNDER_TEST } from "./measuring.mjs";

const LOADS = 15;
const { browser, page } = await openPage();
const sizes = new Map();
page.on("response", async (response) => {
  if (response.url().includes("/samples/")) return; // pictures, fetched after the first paint
  const body = await response.body().catch(() => Buffer.alloc(0));
  sizes.set(response.url(), gzipSync(body).length);
});
const paints = [];
for (let load = 0; load < LOADS; load++) {
  const fresh = load > 0 ? await (await browser.newContext()).newPage() : page;
  await fresh.goto(URL_UNDER_TEST, { waitUntil: "networkidle" });
  paints.push(
    await fresh.evaluate(
      () =>
        new Promise((resolve) => {
          new PerformanceObserver((list) => {
            const entry = list.getEntriesByName("first-contentful-paint")[0];
            if (entry) resolve(entry.startTime);
          }).observe({ type: "paint", buffered: true });
        }),
    ),
  );
}
console.log(JSON.stringify({ what: "first contentful paint, ms", ...summary(paints) }));
const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
console.log(JSON.stringify({ what: "the page, gzip", kB: Math.round(total / 100) / 10 }));
await browser.close();
