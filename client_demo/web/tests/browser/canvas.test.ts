import { describe, expect, test } from "vitest";
import { PHONE } from "../support/browser.ts";
import { overlap } from "../support/canvas-page.ts";
import { DISC, SQUARE, shapesPicture, type TestPicture } from "../support/pictures.ts";
import { skipped, useSession } from "../support/session.ts";

const MIDDLE_OF_SQUARE = [(SQUARE.x0 + SQUARE.x1) / 2, (SQUARE.y0 + SQUARE.y1) / 2] as const;

describe.skipIf(skipped)("the canvas", () => {
  const session = useSession();

  test("a dropped picture opens", async () => {
    const canvas = await session.open();
    const { buffer, name, mimeType } = shapesPicture();
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
    await canvas.opened();
    await expect.poll(() => canvas.page.locator(".thumbnail").count()).toBe(1);
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
    await expect.poll(() => canvas.page.locator(".lesson").textContent()).toMatch(/^Hold on/);
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

  test("Enter keeps an object and the next click begins a second one", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.keyboard.press("Enter");
    await canvas.click(...MIDDLE_OF_SQUARE);
    await expect.poll(() => canvas.objects.count()).toBe(2);
    expect((await canvas.answer(2)).object).toBe(2);
    const colors = canvas.objects.locator("input[type=color]");
    const [first, second] = [await colors.nth(0).inputValue(), await colors.nth(1).inputValue()];
    expect(first).not.toBe(second);
  });

  test("a name typed once is offered again, and digits give it", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.keyboard.press("n");
    await canvas.page.keyboard.type("disc");
    await canvas.page.keyboard.press("Enter");
    await canvas.click(...MIDDLE_OF_SQUARE);
    await canvas.page.keyboard.press("1");
    const names = canvas.objects.locator(".name");
    await expect.poll(() => names.nth(1).inputValue()).toBe("disc");
    expect(await names.nth(0).inputValue()).toBe("disc");
    await expect.poll(() => canvas.page.locator("#classes option").count()).toBe(1);
  });

  test("Enter names in one step, Escape leaves the name as it was", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.keyboard.press("Enter");
    const name = canvas.objects.locator(".name");
    await name.fill("disc");
    await name.press("Enter");
    await name.fill("ball");
    await name.press("Escape");
    expect(await name.inputValue()).toBe("disc");
    await canvas.page.keyboard.press("Control+z");
    await expect.poll(() => name.inputValue()).toBe("");
  });

  test("Enter that only picks characters keeps no object", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const name = canvas.page.locator("#object-name");
    await name.focus();
    await name.dispatchEvent("keydown", { key: "Enter", isComposing: true });
    await canvas.settled();
    expect(await name.evaluate((input) => input === document.activeElement)).toBe(true);
  });

  test("whoever goes by keyboard gets off the stage by Tab, and sees candidates by C", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const shown = canvas.page.locator(".candidates b");
    await canvas.page.keyboard.press("ArrowLeft");
    await canvas.page.keyboard.press("c");
    await expect.poll(() => shown.textContent()).toBe("2/3");
    await canvas.page.keyboard.press("Tab");
    await expect.poll(() => canvas.page.evaluate(focusedClass)).not.toBe("stage");
    expect(await shown.textContent()).toBe("2/3");
  });

  test("after a click on a button Enter still keeps the object", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.getByRole("button", { name: "Next candidate" }).click();
    await expect.poll(() => canvas.page.locator(".candidates b").textContent()).toBe("2/3");
    expect(await canvas.page.evaluate(focusedClass)).toBe("stage");
    await canvas.page.keyboard.press("Enter");
    await expect.poll(() => canvas.page.locator(".object-bar").count()).toBe(0);
    await expect.poll(() => canvas.objects.count()).toBe(1);
  });

  test("a corner set on one picture is none on the next", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture(), shapesPicture("second.png", 30));
    await canvas.stage.focus();
    await canvas.page.keyboard.press("ArrowLeft");
    await canvas.page.keyboard.press("r");
    await canvas.page.keyboard.press(".");
    await canvas.opened();
    await expect.poll(() => canvas.page.locator(".crosshair").getAttribute("hidden")).toBe("");
    await canvas.page.keyboard.press("Shift+ArrowLeft");
    await canvas.page.keyboard.press("Shift+ArrowUp");
    await canvas.page.keyboard.press("r");
    await canvas.settled();
    expect(await canvas.objects.count()).toBe(0);
  });

  test("a finished mask is read out", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await expect
      .poll(() => canvas.page.locator(".heard").textContent())
      .toMatch(/^Object 1, [\d.]+k px, \d+ %, 1 of 3$/);
  });

  test("everything goes by keyboard alone", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.stage.focus();
    await canvas.page.keyboard.press("ArrowLeft");
    await canvas.page.keyboard.press("i");
    await canvas.settled();
    await expect.poll(() => canvas.objects.count()).toBe(1);
    await canvas.page.keyboard.press("Shift+ArrowRight");
    await canvas.page.keyboard.press("x");
    await canvas.settled();
    await expect.poll(() => canvas.page.locator(".mark.exclude").count()).toBe(1);
    await canvas.page.locator(".mark.exclude").focus();
    await canvas.page.keyboard.press("Delete");
    await canvas.settled();
    await expect.poll(() => canvas.page.locator(".mark.exclude").count()).toBe(0);
    await canvas.stage.focus();
    await canvas.page.keyboard.press("Enter");
    await canvas.page.keyboard.press("?");
    await expect
      .poll(() => canvas.page.getByRole("dialog", { name: "Help" }).isVisible())
      .toBe(true);
    await canvas.page.keyboard.press("Escape");
    await expect.poll(() => canvas.page.getByRole("dialog").count()).toBe(0);
  });

  test("a sample opens with one click", async () => {
    const canvas = await session.open();
    await canvas.page.getByRole("button", { name: "Still life" }).click();
    await canvas.opened();
    await expect
      .poll(() => canvas.page.locator(".file-name").textContent())
      .toBe("still-life.webp");
  });

  test.each([
    ["a small phone", 360, 640],
    ["a small phone on its side", 568, 320],
    ["a large phone on its side", 932, 430],
    ["a tablet", 820, 1180],
    ["half a laptop", 700, 680],
    ["a tablet on its side", 1024, 768],
    ["a small laptop", 1024, 640],
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

function focusedClass(): string | undefined {
  return document.activeElement?.className;
}

/** One strip of uncompressed grey, which servers read and browsers do not. */
function tiffPicture(): TestPicture {
  const [width, height] = [64, 48];
  const SHORT = 3;
  const LONG = 4;
  const tags = [
    [256, SHORT, width],
    [257, SHORT, height],
    [258, SHORT, 8],
    [259, SHORT, 1],
    [262, SHORT, 1],
    [273, LONG, 256],
    [277, SHORT, 1],
    [278, SHORT, height],
    [279, LONG, width * height],
  ] as const;
  const buffer = Buffer.alloc(256 + width * height, 128);
  buffer.write("II*\0", "latin1");
  buffer.writeUInt32LE(8, 4);
  buffer.writeUInt16LE(tags.length, 8);
  for (const [index, [tag, type, value]] of tags.entries()) {
    const at = 10 + index * 12;
    buffer.writeUInt16LE(tag, at);
    buffer.writeUInt16LE(type, at + 2);
    buffer.writeUInt32LE(1, at + 4);
    buffer.writeUInt32LE(value, at + 8);
  }
  buffer.writeUInt32LE(0, 10 + tags.length * 12);
  return { name: "scan.tif", mimeType: "image/tiff", buffer };
}

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

/** "12.3k px" and the like, back to a number. */
function pixels(text: string): number {
  const value = Number.parseFloat(text);
  return text.includes("M") ? value * 1e6 : text.includes("k") ? value * 1000 : value;
}
