import type { BrowserContextOptions } from "playwright-core";
import { describe, expect, test } from "vitest";
import { addAuditor, violations } from "../support/accessibility.ts";
import { DESKTOP, PHONE } from "../support/browser.ts";
import type { CanvasPage } from "../support/canvas-page.ts";
import { skipped, useSession } from "../support/session.ts";

const NARROW = { ...PHONE, viewport: { width: 360, height: 740 } };

/** A sample with two objects, the second one still being worked on. */
async function annotate(canvas: CanvasPage): Promise<void> {
  await canvas.page.getByRole("button", { name: "Still life" }).click();
  await canvas.opened();
  const [width, height] = await canvas.page.locator(".picture").evaluate((picture) => {
    const { naturalWidth, naturalHeight } = picture as HTMLImageElement;
    return [naturalWidth, naturalHeight] as const;
  });
  await canvas.click(width * 0.4, height * 0.6);
  await canvas.page.keyboard.press("Enter");
  await canvas.click(width * 0.7, height * 0.6);
  await expect.poll(() => canvas.shownMasks.count()).toBe(2);
}

describe.skipIf(skipped)("no rule of WCAG 2.1 A or AA is broken", () => {
  const session = useSession();

  test.each<["light" | "dark", string, BrowserContextOptions]>([
    ["light", "on a desktop", DESKTOP],
    ["dark", "on a desktop", DESKTOP],
    ["light", "360 pixels wide", NARROW],
    ["dark", "360 pixels wide", NARROW],
  ])("%s, %s", async (scheme, _, options) => {
    // Half faded in, text has half its contrast.
    const still = { ...options, colorScheme: scheme, reducedMotion: "reduce" } as const;
    const canvas = await session.open(still, addAuditor);
    const { page } = canvas;
    await page.getByRole("button", { name: "Choose photos" }).waitFor();
    expect(await violations(page), "empty").toEqual([]);
    await annotate(canvas);
    expect(await violations(page), "two objects").toEqual([]);
    if (options === NARROW) {
      await page.getByRole("button", { name: "Objects (2)" }).click();
      await page.getByRole("button", { name: "Close the list" }).waitFor();
      expect(await violations(page), "the list of objects").toEqual([]);
      await page.getByRole("button", { name: "Close the list" }).click();
      await page.getByRole("slider", { name: "Opacity" }).waitFor({ state: "hidden" });
    }
    await page.locator(".thumbnail").hover();
    await page.getByRole("button", { name: "Remove still-life.webp" }).click();
    await page.getByRole("dialog", { name: "Remove still-life.webp" }).waitFor();
    expect(await violations(page), "a question").toEqual([]);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Brush" }).click();
    await page.getByLabel("Brush size").waitFor();
    expect(await violations(page), "a brush in hand").toEqual([]);
    for (const name of ["Help", "Export"]) {
      await page.getByRole("button", { name, exact: true }).click();
      await page.getByRole("dialog", { name }).waitFor();
      expect(await violations(page), name).toEqual([]);
      await page.keyboard.press("Escape");
    }
  });
});
