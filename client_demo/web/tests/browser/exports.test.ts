import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { beforeAll, describe, expect, test } from "vitest";
import type { MaskReply } from "../../src/client/messages.ts";
import type { CanvasPage } from "../support/canvas-page.ts";
import { DISC, SQUARE, shapesPicture } from "../support/pictures.ts";
import { PYTHON } from "../support/server.ts";
import { skipped, useSession } from "../support/session.ts";

const CHECK = new URL("../support/check_exports.py", import.meta.url).pathname;

/** Two objects, named, with the server's masks of them as the page got them. */
async function annotate(canvas: CanvasPage): Promise<MaskReply[]> {
  await canvas.pick(shapesPicture());
  const kept: MaskReply[] = [];
  const places = [
    [DISC.x, DISC.y, "disc"],
    [(SQUARE.x0 + SQUARE.x1) / 2, (SQUARE.y0 + SQUARE.y1) / 2, "square"],
  ] as const;
  for (const [x, y, name] of places) {
    await canvas.click(x, y);
    kept.push(await canvas.answer(kept.length + 1));
    await canvas.page.locator("#object-name").fill(name);
    await canvas.page.locator("#object-name").press("Enter");
  }
  return kept;
}

async function save(canvas: CanvasPage, title: string, folder: string): Promise<string> {
  await canvas.page.getByRole("button", { name: "Export" }).click();
  const download = canvas.page.waitForEvent("download");
  await canvas.page.getByRole("button", { name: title }).click();
  const file = await download;
  const path = join(folder, file.suggestedFilename());
  await file.saveAs(path);
  if (path.endsWith(".zip")) {
    for (const [name, bytes] of Object.entries(unzipSync(readFileSync(path)))) {
      writeFileSync(join(folder, name), bytes);
    }
  }
  return path;
}

describe.skipIf(skipped)("exports", () => {
  const session = useSession();
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "samwire-"));
  });

  test("every kind holds the server's own masks, to the pixel", async () => {
    const canvas = await session.open();
    const masks = await annotate(canvas);
    const reference = masks.map(({ rle, area, bbox }) => ({
      size: rle.size,
      counts: new TextDecoder().decode(rle.counts),
      area,
      bbox,
    }));
    writeFileSync(join(folder, "reference.json"), JSON.stringify(reference));
    for (const title of ["COCO JSON", "PNG masks", "Indexed PNG", "Cut-outs", "Polygons"]) {
      await save(canvas, title, folder);
    }
    const checked = spawnSync(PYTHON, [CHECK, folder], { encoding: "utf8" });
    expect(checked.stderr + checked.stdout).toBe("coco masks indexed cutouts polygons\n");
  });

  test("a COCO file goes back in, and its objects can be worked on", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    const buffer = readFileSync(join(folder, "shapes.coco.json"));
    const chooser = canvas.page.waitForEvent("filechooser");
    await canvas.page.getByRole("button", { name: "Import COCO" }).click();
    await (await chooser).setFiles({ name: "a.json", mimeType: "application/json", buffer });
    await expect.poll(() => canvas.objects.count()).toBe(2);
    const names = canvas.objects.locator(".name");
    expect(await names.nth(0).inputValue()).toBe("disc");
    const before = await canvas.drawn();
    await canvas.page.getByRole("button", { name: "Edit disc" }).click();
    await canvas.click(DISC.x + 20, DISC.y + 20);
    await expect.poll(() => canvas.drawn()).toHaveLength(before.length);
    expect((await canvas.drawn())[1]).toBe(before[1]);
  });

  test("a COCO file reaches a picture that was not looked at yet", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture("first.png"), shapesPicture("second.png"));
    const coco = JSON.parse(readFileSync(join(folder, "shapes.coco.json"), "utf8"));
    coco.images[0].file_name = "second.png";
    const chooser = canvas.page.waitForEvent("filechooser");
    await canvas.page.getByRole("button", { name: "Import COCO" }).click();
    const buffer = Buffer.from(JSON.stringify(coco));
    await (await chooser).setFiles({ name: "a.json", mimeType: "application/json", buffer });
    const notice = canvas.page.locator(".notice");
    await expect.poll(() => notice.textContent()).toMatch("2 objects into 1 picture.");
    await canvas.stage.focus();
    await canvas.page.keyboard.press(".");
    await expect.poll(() => canvas.objects.count()).toBe(2);
  });

  test("what is no COCO file says so", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture());
    const chooser = canvas.page.waitForEvent("filechooser");
    await canvas.page.getByRole("button", { name: "Import COCO" }).click();
    const buffer = Buffer.from('{"cats": 3}');
    await (await chooser).setFiles({ name: "cats.json", mimeType: "application/json", buffer });
    await expect.poll(() => canvas.page.locator(".notice").textContent()).toMatch(/COCO/);
  });
});
