/** Keys, names, and what is said to those who do not see the page. */
import { describe, expect, test } from "vitest";
import { DISC, SQUARE, shapesPicture } from "../support/pictures.ts";
import { skipped, useSession } from "../support/session.ts";

const MIDDLE_OF_SQUARE = [(SQUARE.x0 + SQUARE.x1) / 2, (SQUARE.y0 + SQUARE.y1) / 2] as const;

describe.skipIf(skipped)("by keyboard", () => {
  const session = useSession();

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
    await canvas.page.keyboard.press("?");
    const digits = canvas.page.getByRole("list", { name: "Names by digit" });
    await expect.poll(() => digits.getByRole("listitem").allTextContents()).toEqual(["1 disc"]);
  });

  test("N on an object with a name replaces it", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    for (const name of ["disc", "ball"]) {
      await canvas.page.keyboard.press("n");
      await canvas.page.keyboard.type(name);
      await canvas.page.keyboard.press("Tab");
      await canvas.stage.focus();
    }
    expect(await canvas.objects.locator(".name").inputValue()).toBe("ball");
  });

  test("N right after keeping names the object just kept", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.keyboard.press("Enter");
    await expect.poll(() => canvas.page.locator(".object-bar").count()).toBe(0);
    await canvas.page.keyboard.press("n");
    const field = canvas.page.locator("#object-name:focus");
    await expect.poll(() => field.count()).toBe(1);
    await canvas.page.keyboard.type("disc");
    await canvas.page.keyboard.press("Enter");
    await expect.poll(() => canvas.objects.locator(".name").inputValue()).toBe("disc");
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

  test("after a file was asked for, Enter is the picture's", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    for (const name of ["Add pictures", "Import COCO"]) {
      const chooser = canvas.page.waitForEvent("filechooser");
      await canvas.page.getByRole("button", { name }).click();
      await chooser;
      expect(await canvas.page.evaluate(focusedClass), name).toMatch(/^stage/);
    }
  });

  test("after the opacity was dragged Enter still keeps the object", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.getByRole("slider", { name: "Opacity" }).click();
    await canvas.page.keyboard.press("Enter");
    await expect.poll(() => canvas.page.locator(".object-bar").count()).toBe(0);
    expect(await canvas.objects.count()).toBe(1);
  });

  test("after a point was dragged or clicked the keys are the picture's", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.drag([DISC.x, DISC.y], [DISC.x + 20, DISC.y]);
    expect(await canvas.page.evaluate(focusedClass)).toBe("stage");
    await canvas.page.keyboard.press("Delete");
    await expect.poll(() => canvas.objects.count()).toBe(0);
    await canvas.page.keyboard.press("Control+z");
    await canvas.page.mouse.click(...(await canvas.at(DISC.x + 20, DISC.y)));
    await canvas.page.getByRole("button", { name: "Remove point" }).waitFor();
    await canvas.page.keyboard.press("Enter");
    await expect.poll(() => canvas.page.locator(".object-bar").count()).toBe(0);
    expect(await canvas.objects.count()).toBe(1);
  });

  test("Tab stays with the picture for whoever clicks, other candidates or not", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.click(DISC.x + 30, DISC.y); // one mask, and no other
    await canvas.page.keyboard.press("Tab");
    expect(await canvas.page.evaluate(focusedClass)).toBe("stage");
  });

  test("Ctrl S exports, from within a name too, and the name is kept", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.keyboard.press("n");
    await canvas.page.keyboard.type("disc");
    await canvas.page.keyboard.press("Control+s");
    await canvas.page.getByRole("dialog", { name: "Export" }).waitFor();
    expect(await canvas.objects.locator(".name").inputValue()).toBe("disc");
    expect(await canvas.page.evaluate(focusedText)).toMatch(/^COCO JSON/);
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

  test("the focus that goes with a button is the picture's, and no place while there is none", async () => {
    const canvas = await session.open();
    const { page, stage } = canvas;
    expect([await stage.getAttribute("role"), await stage.getAttribute("tabindex")]).toEqual([
      ...[null, "-1"],
    ]);
    await canvas.pick(shapesPicture(), shapesPicture("second.png", 30));
    const onStage = () => expect.poll(() => page.evaluate(focusedClass)).toMatch(/^stage/);
    await onStage();
    expect(await stage.getAttribute("role")).toBe("application");
    for (const name of ["Delete object", "Keep", "Delete Object 2"]) {
      if (name !== "Delete Object 2") await canvas.click(DISC.x, DISC.y);
      await page.keyboard.press("ArrowLeft"); // who goes by keys
      await page.getByRole("button", { name, exact: true }).focus();
      await page.keyboard.press("Enter");
      await onStage();
    }
    await page.getByRole("button", { name: "Remove shapes.png" }).focus();
    await page.keyboard.press("Enter");
    await onStage();
    await expect.poll(() => stage.evaluate(outline)).not.toBe("none");
    await page.mouse.click(...(await canvas.at(20, 20)));
    await page.keyboard.press("Control+z");
    await expect.poll(() => stage.evaluate(outline)).toBe("none");
  });

  test("with the last picture the focus goes to where the next one is chosen", async () => {
    const canvas = await session.open();
    const { page } = canvas;
    await page.getByRole("button", { name: "Choose photos" }).waitFor();
    expect(await page.evaluate(focusedText)).not.toBe("Choose photos");
    await canvas.pick(shapesPicture());
    await page.getByRole("button", { name: "Remove shapes.png" }).focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => page.evaluate(focusedText)).toBe("Choose photos");
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await page.getByRole("button", { name: "Remove shapes.png" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => page.evaluate(focusedText)).toBe("Choose photos");
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
});

function outline(stage: Element): string {
  return getComputedStyle(stage).outlineStyle;
}

function focusedText(): string | null | undefined {
  return document.activeElement?.textContent;
}

function focusedClass(): string | undefined {
  return document.activeElement?.className;
}
