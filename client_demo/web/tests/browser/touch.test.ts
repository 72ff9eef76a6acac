/** Fingers and pens, and screens of every size. */
import { describe, expect, test } from "vitest";
import { PHONE } from "../support/browser.ts";
import { DISC, SQUARE, shapesPicture } from "../support/pictures.ts";
import { skipped, useSession } from "../support/session.ts";

const MIDDLE_OF_SQUARE = [(SQUARE.x0 + SQUARE.x1) / 2, (SQUARE.y0 + SQUARE.y1) / 2] as const;

describe.skipIf(skipped)("by touch", () => {
  const session = useSession();

  test("a finger that trembles on a point still removes it", async () => {
    const canvas = await session.open(PHONE);
    await canvas.pick(shapesPicture());
    const [x, y] = await canvas.at(DISC.x, DISC.y);
    await canvas.page.touchscreen.tap(x, y);
    await canvas.settled();
    const finger = await canvas.page.context().newCDPSession(canvas.page);
    const touch = (
      type: "touchStart" | "touchMove" | "touchEnd",
      ...at: { x: number; y: number }[]
    ) => finger.send("Input.dispatchTouchEvent", { type, touchPoints: at });
    await touch("touchStart", { x, y });
    await touch("touchMove", { x: x + 5, y: y + 5 });
    await expect.poll(() => canvas.page.locator(".mark").count()).toBe(0);
    await touch("touchEnd");
  });

  test("a pen held still excludes", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const [x, y] = await canvas.at(DISC.x + 40, DISC.y);
    const device = await canvas.page.context().newCDPSession(canvas.page);
    const pen = (type: "mousePressed" | "mouseReleased") =>
      device.send("Input.dispatchMouseEvent", {
        ...{ type, x, y, button: "left", clickCount: 1, pointerType: "pen" },
      });
    await pen("mousePressed");
    await expect.poll(() => canvas.page.locator(".mark.exclude").count()).toBe(1);
    await pen("mouseReleased");
    await canvas.settled();
    expect(await canvas.page.locator(".mark").count()).toBe(2);
  });

  test("on a phone a tap can exclude, until the next object", async () => {
    const canvas = await session.open(PHONE);
    await canvas.pick(shapesPicture());
    const tap = async (x: number, y: number) => {
      await canvas.page.touchscreen.tap(...(await canvas.at(x, y)));
      await canvas.settled();
    };
    await tap(DISC.x, DISC.y);
    await expect.poll(() => canvas.page.locator(".lesson").textContent()).toMatch(/^Tap adds/);
    await canvas.page.getByRole("button", { name: "Exclude", exact: true }).tap();
    await tap(DISC.x + 60, DISC.y);
    await expect.poll(() => canvas.page.locator(".mark.exclude").count()).toBe(1);
    await expect.poll(() => canvas.page.locator(".lesson").count()).toBe(0);
    await canvas.page.getByRole("button", { name: "Keep" }).tap();
    await tap(...MIDDLE_OF_SQUARE);
    await expect.poll(() => canvas.objects.count()).toBe(2);
    expect(await canvas.page.locator(".mark.exclude").count()).toBe(0);
    const size = canvas.page
      .locator("#object-name")
      .evaluate((name) => getComputedStyle(name).fontSize);
    expect(await size).toBe("16px"); // less, and an iPhone zooms the page in
  });

  test("on a phone Help is of fingers, and keys are there for who has some", async () => {
    const canvas = await session.open(PHONE);
    await canvas.page.getByRole("button", { name: "Help" }).tap();
    const { page } = canvas;
    await page.getByText("Take away what is under the finger").waitFor();
    expect(await page.locator("kbd").first().isVisible()).toBe(false);
    await page.getByText("With a keyboard").tap();
    await expect.poll(() => page.locator("kbd").first().isVisible()).toBe(true);
  });

  test.each([
    ["a small phone", 360, 640],
    ["a small phone on its side", 568, 320],
    ["a large phone on its side", 932, 430],
    ["a tablet", 820, 1180],
    ["half a laptop", 700, 680],
    ["a tablet on its side", 1024, 768],
    ["a small laptop", 1024, 640],
    ["a small laptop at 200 %", 512, 384],
    ["a very small phone on its side", 480, 320],
  ])("on %s nothing covers a button or the picture", async (_, width, height) => {
    const canvas = await session.open({ viewport: { width, height }, hasTouch: true });
    await canvas.pick(shapesPicture());
    await canvas.page.touchscreen.tap(...(await canvas.at(DISC.x, DISC.y)));
    await canvas.settled();
    await expect.poll(() => canvas.page.locator(".object-bar").count()).toBe(1);
    await expect.poll(() => canvas.page.evaluate(coveredButtons)).toEqual([]);
    await canvas.page.locator(".mark").focus(); // which adds a button to the bar
    await canvas.page.getByRole("button", { name: "Remove point" }).waitFor();
    await expect.poll(() => canvas.page.evaluate(coveredButtons)).toEqual([]);
    const [picture, bar] = await Promise.all(
      [".picture", ".object-bar"].map((part) => canvas.page.locator(part).boundingBox()),
    );
    expect(picture!.y + picture!.height).toBeLessThanOrEqual(bar!.y);
    expect(Math.max(picture!.width / width, picture!.height / height)).toBeGreaterThan(0.33);
  });
});

/** The labels of buttons in the bars that a tap on their middle would miss. */
function coveredButtons(): string[] {
  const buttons = [...document.querySelectorAll<HTMLElement>(".header button, .context button")];
  const shown = buttons.filter((button) => button.checkVisibility());
  const covered = shown.filter((button) => {
    const { left, top, width, height } = button.getBoundingClientRect();
    return !button.contains(document.elementFromPoint(left + width / 2, top + height / 2));
  });
  return covered.map((button) => button.ariaLabel ?? button.textContent ?? "");
}
