/** Opening pictures, and pointing at things with a mouse. */
import { describe, expect, test } from "vitest";
import { type CanvasPage, overlap } from "../support/canvas-page.ts";
import { DISC, SQUARE, shapesPicture, type TestPicture, tiffPicture } from "../support/pictures.ts";
import { skipped, useSession } from "../support/session.ts";

describe.skipIf(skipped)("the canvas", () => {
  const session = useSession();

  test("a dropped picture opens", async () => {
    const canvas = await session.open();
    await drop(canvas, shapesPicture());
    await canvas.opened();
    await expect.poll(() => canvas.page.locator(".thumbnail").count()).toBe(1);
  });

  test("dropped text is no picture, and an empty file says which it is", async () => {
    const canvas = await session.open();
    await drop(canvas, { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("hm") });
    const notice = canvas.page.locator(".notice");
    await expect.poll(() => notice.textContent()).toBe("Left out notes.txt: text is no picture.");
    expect(await canvas.page.locator(".thumbnail").count()).toBe(0);
    await drop(canvas, { ...shapesPicture("empty.png"), buffer: Buffer.alloc(0) });
    const failure = canvas.page.locator(".failure");
    await expect.poll(() => failure.getByRole("heading").textContent()).toBe("empty.png");
    await expect.poll(() => canvas.page.locator(".thumbnail button > .icon").count()).toBe(2);
  });

  test("a pasted picture opens", async () => {
    const canvas = await session.open();
    await canvas.page.evaluate((base64) => {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
      dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
    }, shapesPicture().buffer.toString("base64"));
    await canvas.opened();
    await expect.poll(() => canvas.page.locator(".file-name").textContent()).toBe("pasted.png");
  });

  test("a picked picture previews under the pointer, and a click makes it an object", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.page.mouse.move(...(await canvas.at(DISC.x, DISC.y)));
    await expect.poll(() => canvas.page.locator(".mask.hover").count()).toBe(1);
    await canvas.click(DISC.x, DISC.y);
    await expect.poll(() => canvas.objects.count()).toBe(1);
    await expect.poll(() => canvas.shownMasks.count()).toBe(1);
    expect((await canvas.answer(1)).candidates).toHaveLength(3);
  });

  test("a preview is asked for before the frame that hands out the move", async () => {
    const canvas = await session.open(undefined, async (page) => {
      await page.addInitScript(() => {
        addEventListener("pointermove", (event) => event.stopImmediatePropagation(), true);
      });
    });
    await canvas.pick(shapesPicture());
    await canvas.page.mouse.move(...(await canvas.at(DISC.x, DISC.y)));
    await expect.poll(() => canvas.page.locator(".mask.hover").count()).toBe(1);
  });

  test("a right click excludes", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const before = await canvas.drawn();
    await canvas.click(DISC.x + 40, DISC.y, "right");
    await expect.poll(() => canvas.page.locator(".mark.exclude").count()).toBe(1);
    await expect.poll(() => canvas.drawn()).not.toEqual(before);
  });

  test("excluding before anything is included says what to do instead", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y, "right");
    await expect.poll(() => canvas.objects.count()).toBe(0);
    await expect.poll(() => canvas.page.locator(".notice").textContent()).toMatch(/first/);
  });

  test("a notice lets clicks through, and goes by its own button", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.page.keyboard.press("5"); // there is no such name
    const notice = canvas.page.locator(".notice");
    const box = (await notice.locator("p").boundingBox())!;
    const beneath = await canvas.page.evaluate(
      ([x, y]) => document.elementFromPoint(x!, y!)?.closest(".stage, .notice")?.className,
      [box.x + box.width / 2, box.y + box.height / 2],
    );
    expect(beneath).toBe("stage");
    await notice.getByRole("button", { name: "Dismiss" }).click();
    await expect.poll(() => notice.count()).toBe(0);
  });

  test("a dragged box asks by box, and its corner can be dragged", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.drag([SQUARE.x0 - 8, SQUARE.y0 - 8], [SQUARE.x1 + 8, SQUARE.y1 + 8]);
    await expect.poll(() => canvas.page.locator(".mark.corner").count()).toBe(4);
    const first = await canvas.answer(1);
    await canvas.drag([SQUARE.x1 + 8, SQUARE.y1 + 8], [SQUARE.x1 + 40, SQUARE.y1 + 60]);
    expect((await canvas.answer(2)).object).toBe(first.object);
    await expect.poll(() => canvas.page.locator(".mark.corner").count()).toBe(4);
  });

  test("Escape takes back a drag under way, and then the object begun", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.mouse.move(...(await canvas.at(300, 50)));
    await canvas.page.mouse.down();
    await canvas.page.mouse.move(...(await canvas.at(400, 150)), { steps: 4 });
    await canvas.page.keyboard.press("Escape");
    await canvas.page.mouse.up();
    await canvas.settled();
    await expect.poll(() => canvas.page.locator(".mark.corner").count()).toBe(0);
    await expect.poll(() => canvas.objects.count()).toBe(1);
    await canvas.page.keyboard.press("Escape");
    await expect.poll(() => canvas.objects.count()).toBe(0);
    await canvas.page.keyboard.press("Control+z");
    await expect.poll(() => canvas.objects.count()).toBe(1);
  });

  test("a mouse can click close to a point; on it, it takes hold of the point", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const marks = canvas.page.locator(".mark");
    const [x, y] = await canvas.at(DISC.x, DISC.y);
    await canvas.page.mouse.click(x + 9, y);
    await canvas.settled();
    expect(await marks.count()).toBe(1);
    await canvas.page.mouse.click(x + 16, y);
    await expect.poll(() => marks.count()).toBe(2);
  });

  test("the list and the picture know of each other", async () => {
    const canvas = await session.open({ viewport: { width: 1200, height: 520 } });
    await canvas.pick(shapesPicture());
    const { page, objects } = canvas;
    const dabs = [40, 140, 240, 340, 440, 540].map((x) => [x, 30] as const);
    await page.keyboard.press("b");
    for (const [x, y] of dabs) {
      await canvas.click(x, y);
      await page.keyboard.press("Enter");
    }
    await expect.poll(() => canvas.shownMasks.count()).toBe(dabs.length);
    const pointed = () =>
      page
        .locator(".mask.pointed")
        .evaluateAll((all) => all.map((one) => one.getAttribute("data-key")));
    await objects.last().hover();
    await expect.poll(pointed).toEqual(["6"]);
    await page.keyboard.press("v");
    await page.mouse.move(...(await canvas.at(...dabs[0]!)));
    await expect.poll(pointed).toEqual(["1"]);
    await canvas.click(...dabs[0]!);
    await expect.poll(() => objects.first().getAttribute("data-active")).toBe("true");
    await expect.poll(() => objects.first().evaluate(isInView)).toBe(true);
    const name = objects.last().locator(".name");
    expect(await name.getAttribute("placeholder")).toBe("Object 6");
    await name.focus();
    await expect.poll(() => objects.last().getAttribute("data-active")).toBe("true");
    await objects.nth(4).click({ position: { x: 2, y: 2 } });
    await expect.poll(() => objects.nth(4).getAttribute("data-active")).toBe("true");
  });

  test("coloured by name, a new object has its name's colour in the list and on the picture", async () => {
    const canvas = await session.open();
    const { page } = canvas;
    await canvas.pick(shapesPicture());
    const choice = page.getByRole("button", { name: "Name", exact: true });
    expect(await choice.count()).toBe(0); // before there is a name
    for (const [x, y] of [
      [DISC.x, DISC.y],
      [SQUARE.x0 + 60, SQUARE.y0 + 60],
    ] as const) {
      await canvas.click(x, y);
      await page.locator("#object-name").fill("thing");
      await page.locator("#object-name").press("Enter");
    }
    const colors = () =>
      page
        .locator(".masks g.object, .objects .swatch")
        .evaluateAll((all) => all.map((one) => (one as HTMLElement).style.cssText));
    await expect.poll(async () => new Set(await colors()).size).toBe(2);
    await choice.click();
    const seen = async () => [(await colors()).length, new Set(await colors()).size];
    await expect.poll(seen).toEqual([4, 1]);
  });

  test("a picture with objects is removed only when that is meant", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const { page } = canvas;
    const ask = async () => {
      await page.locator(".thumbnail").hover();
      await page.getByRole("button", { name: "Remove shapes.png" }).click();
    };
    const question = page.getByRole("dialog", { name: "Remove shapes.png and its 1 object?" });
    await ask();
    await question.waitFor();
    await page.keyboard.press("Delete"); // the shortcuts rest meanwhile
    await question.getByRole("button", { name: "Keep" }).click();
    await expect.poll(() => question.count()).toBe(0);
    expect(await canvas.objects.count()).toBe(1);
    await ask();
    await question.getByRole("button", { name: "Remove" }).click();
    await expect.poll(() => page.locator(".thumbnail").count()).toBe(0);
    await page.getByRole("button", { name: "Choose photos" }).waitFor();
  });

  test("the strip shows the picture on stage, however many there are, after a reload too", async () => {
    const canvas = await session.open();
    const { page } = canvas;
    const names = Array.from({ length: 20 }, (_, index) => `${index + 1}.png`);
    await canvas.pick(...names.map((name) => shapesPicture(name)));
    const isInView = () => page.locator(".thumbnail:has([aria-current])").evaluate(isWithinStrip);
    for (const _ of names.slice(1, -1)) await page.keyboard.press(".");
    await canvas.opened();
    await expect.poll(() => page.locator(".place").textContent()).toBe("19 of 20");
    await expect.poll(isInView).toBe(true);
    await expect.poll(async () => Object.keys(await canvas.stored()).length).toBe(20);
    await page.reload();
    await canvas.opened();
    await expect.poll(() => page.locator(".file-name").textContent()).toBe("19.png");
    await expect.poll(isInView).toBe(true);
  });

  test("a long file name leaves the connection its room", async () => {
    const canvas = await session.open({ viewport: { width: 1024, height: 700 } });
    await canvas.pick(shapesPicture(`${"a-long-name-".repeat(8)}.png`));
    await canvas.click(DISC.x, DISC.y);
    const cut = (selector: string) => canvas.page.locator(selector).evaluate(isCut);
    await expect.poll(() => canvas.page.locator(".latency").count()).toBe(1);
    expect([await cut(".connection > span:not(.dot)"), await cut(".file-name")]).toEqual([
      false,
      true,
    ]);
  });

  test("a picture that only the server can read is said to be one", async () => {
    const canvas = await session.open();
    const chooser = canvas.page.waitForEvent("filechooser");
    await canvas.page.getByRole("button", { name: "Choose photos" }).click();
    await (await chooser).setFiles([tiffPicture()]);
    await expect.poll(() => canvas.page.locator(".notice").textContent()).toMatch(/cannot show/);
    expect(await canvas.page.locator(".failure").count()).toBe(0);
  });

  test("undo and redo bring masks back without asking the server", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const first = await canvas.drawn();
    await canvas.click(DISC.x + 30, DISC.y + 20);
    const second = await canvas.drawn();
    await canvas.answer(2);
    await canvas.page.mouse.move(5, 5);
    await canvas.page.keyboard.press("Control+z");
    await expect.poll(() => canvas.drawn()).toEqual(first);
    await canvas.page.keyboard.press("Control+Shift+z");
    await expect.poll(() => canvas.drawn()).toEqual(second);
    await canvas.page.keyboard.press("Control+z");
    await canvas.page.keyboard.press("Control+z");
    await expect.poll(() => canvas.objects.count()).toBe(0);
    expect(canvas.masks.map(({ candidates }) => candidates?.length)).toEqual([3, undefined]);
  });

  test("Tab cycles three candidates without asking, and the next click refines the chosen", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const first = await canvas.answer(1);
    await canvas.page.mouse.move(5, 5);
    const seen = new Set<string>();
    for (let press = 0; press < 3; press++) {
      seen.add((await canvas.drawn())[0]!);
      await canvas.page.keyboard.press("Tab");
      await canvas.settled();
    }
    expect(seen.size).toBeGreaterThan(1);
    expect(canvas.masks).toHaveLength(1);
    await expect.poll(() => canvas.page.locator(".candidates b").textContent()).toBe("1/3");
    await canvas.page.keyboard.press("Tab");
    await canvas.click(DISC.x + 20, DISC.y);
    expect((await canvas.answer(2)).prior).toBe(first.id);
  });

  test("a brush stroke adds, the eraser takes away, and a click goes on from there", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const { area: start } = await canvas.answer(1);
    const number = async () => pixels((await canvas.areas())[0]!);
    await canvas.page.keyboard.press("b");
    await canvas.drag([40, 420], [200, 420]);
    await expect.poll(number).toBeGreaterThan(start + 1500);
    const painted = await number();
    await canvas.page.keyboard.press("e");
    await canvas.drag([40, 420], [200, 420]);
    await expect.poll(number).toBeLessThan(painted - 1500);
    await canvas.page.keyboard.press("s");
    await canvas.click(DISC.x + 10, DISC.y + 10);
    await canvas.answer(2);
  });

  test("where the time of a mask went is shown until Escape, or a click elsewhere", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const timings = canvas.page.locator(".timings");
    await canvas.page.locator(".latency").click();
    await timings.getByText("decoding").waitFor();
    await canvas.page.keyboard.press("Escape");
    await timings.waitFor({ state: "hidden" });
    expect(await canvas.objects.count()).toBe(1);
    await canvas.page.locator(".latency").click();
    await timings.getByText("decoding").waitFor();
    await canvas.page.mouse.click(...(await canvas.at(20, 20)));
    await timings.waitFor({ state: "hidden" });
  });

  test("zoomed in, a click on the same pixel gives the same mask", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const first = await canvas.answer(1);
    await canvas.page.keyboard.press("Escape");
    await canvas.page.mouse.move(...(await canvas.at(DISC.x, DISC.y)));
    for (let notch = 0; notch < 4; notch++) await canvas.page.mouse.wheel(0, -240);
    await expect
      .poll(() => canvas.page.locator(".zoom-value").textContent())
      .toMatch(/[3-9]\d\d %/);
    await canvas.click(DISC.x, DISC.y);
    expect(overlap(first.rle, (await canvas.answer(2)).rle)).toBeGreaterThan(0.97);
  });

  test("Help leads to the notices of what the page is made with", async () => {
    const { page } = await session.open();
    await page.getByRole("button", { name: "Help" }).click();
    const link = page.getByRole("link", { name: "Third-party notices" });
    const answer = await page.request.get(
      await link.evaluate((one: HTMLAnchorElement) => one.href),
    );
    expect(answer.headers()["content-type"]).toBe("text/plain; charset=utf-8");
    expect(await answer.text()).toContain("Permission is hereby granted");
  });

  test("a sample opens with one click", async () => {
    const canvas = await session.open();
    await canvas.page.getByRole("button", { name: "Still life" }).click();
    await canvas.opened();
    await expect
      .poll(() => canvas.page.locator(".file-name").textContent())
      .toBe("still-life.webp");
  });
});

async function drop(canvas: CanvasPage, { buffer, name, mimeType }: TestPicture): Promise<void> {
  const data = await canvas.page.evaluateHandle(
    ([base64, fileName, type]) => {
      const bytes = Uint8Array.from(atob(base64!), (character) => character.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], fileName!, { type: type! }));
      return transfer;
    },
    [buffer.toString("base64"), name, mimeType],
  );
  await canvas.page.dispatchEvent(".app", "drop", { dataTransfer: data });
}

function isInView(row: Element): boolean {
  const [inner, outer] = [row, row.parentElement!].map((one) => one.getBoundingClientRect());
  return inner!.top >= outer!.top && inner!.bottom <= outer!.bottom;
}

/** "12.3k px" and the like, back to a number. */
function pixels(text: string): number {
  const value = Number.parseFloat(text);
  return text.includes("M") ? value * 1e6 : text.includes("k") ? value * 1000 : value;
}

function isCut({ scrollWidth, clientWidth }: Element): boolean {
  return scrollWidth > clientWidth;
}

function isWithinStrip(thumbnail: Element): boolean {
  const strip = thumbnail.closest(".strip")!.getBoundingClientRect();
  const { top, bottom } = thumbnail.getBoundingClientRect();
  return top >= strip.top && bottom <= strip.bottom;
}
