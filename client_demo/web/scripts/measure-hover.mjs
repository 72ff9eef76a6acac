/**
 * From a pointer's move to its preview painted: `node scripts/measure-hover.mjs [url]`.
 *
 * The clock starts with the move's own time stamp and stops in the first task after the frame that
 * shows the outline. One move at a time; bar: median <= 60 ms on two idle cores, bundled model.
 */
import { openPage, pickPicture, summary, URL_UNDER_TEST } from "./measuring.mjs";

const MOVES = 300;
const WARM_UP = 30;
/** Not with every frame, which is the default: that alone keeps a core busy. */
const POLLING = { timeout: 1500, polling: 100 };

const { browser, page } = await openPage();
await page.goto(URL_UNDER_TEST);
await pickPicture(page, 1280, 960);
const box = await page.locator(".picture").boundingBox();

await page.evaluate(() => {
  let moved = 0;
  window.painted = [];
  let newest = 0;
  // A move is told twice where there are raw updates: at once, and again with the next frame.
  for (const kind of ["pointerrawupdate", "pointermove"]) {
    document.querySelector(".stage").addEventListener(
      kind,
      (event) => {
        if (event.timeStamp > newest) moved = newest = event.timeStamp;
      },
      { capture: true },
    );
  }
  const afterFrame = (then) => requestAnimationFrame(() => setTimeout(then));
  new MutationObserver((changes) => {
    if (!moved || !changes.some(({ target }) => target.closest?.(".hover"))) return;
    const from = moved;
    moved = 0;
    afterFrame(() => window.painted.push(performance.now() - from));
  }).observe(document.querySelector(".masks"), {
    subtree: true,
    childList: true,
    attributes: true,
    attributeFilter: ["d", "class"],
  });
});

for (let move = 0; move < MOVES + WARM_UP; move++) {
  const before = await page.evaluate(() => window.painted.length);
  const [u, v] = [0.1 + 0.8 * ((move * 0.618) % 1), 0.1 + 0.8 * ((move * 0.381) % 1)];
  await page.mouse.move(box.x + u * box.width, box.y + v * box.height);
  // The same outline as before changes nothing, and so has no paint to wait for.
  await page
    .waitForFunction((count) => window.painted.length > count, before, POLLING)
    .catch(() => {});
}
const painted = await page.evaluate(() => window.painted);
console.log(
  JSON.stringify({ what: "move to preview painted, ms", ...summary(painted.slice(WARM_UP)) }),
);
await browser.close();
