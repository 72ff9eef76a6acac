import { decode } from "@msgpack/msgpack";
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { PHONE } from "../support/browser.ts";
import { corruptPicture, DISC, hugePicture, SQUARE, shapesPicture } from "../support/pictures.ts";
import { skipped, useSession } from "../support/session.ts";

const MIDDLE_OF_SQUARE = [(SQUARE.x0 + SQUARE.x1) / 2, (SQUARE.y0 + SQUARE.y1) / 2] as const;
const CONNECTED = ".connection[data-status=online]";

describe.skipIf(skipped)("when things go wrong, or merely happen", () => {
  const session = useSession();

  test("a reload restores pictures, objects, names and masks, and a click refines", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture("one.png"), shapesPicture("two.png", 15));
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.locator("#object-name").fill("disc");
    await canvas.page.locator("#object-name").press("Enter");
    await canvas.click(...MIDDLE_OF_SQUARE);
    await canvas.page.mouse.move(5, 5);
    const [areas, drawn] = [await canvas.areas(), await canvas.drawn()];
    const stored = { "one.png": ["disc", ""], "two.png": [] };
    await expect.poll(() => canvas.stored()).toEqual(stored);
    await canvas.page.reload();
    await canvas.opened();
    await expect.poll(() => canvas.page.locator(".thumbnail").count()).toBe(2);
    await expect.poll(() => canvas.areas()).toEqual(areas);
    await expect.poll(() => canvas.drawn()).toEqual(drawn);
    await expect.poll(() => canvas.objects.locator(".name").nth(0).inputValue()).toBe("disc");
    await canvas.click(MIDDLE_OF_SQUARE[0] + 20, MIDDLE_OF_SQUARE[1] + 20);
    expect((await canvas.answer(3)).object).toBe(2);
  });

  test("a reload right after a mask, in the middle of a name, loses neither", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture("one.png"));
    await expect.poll(() => canvas.stored()).toEqual({ "one.png": [] });
    await canvas.click(DISC.x, DISC.y);
    await canvas.page.keyboard.press("n");
    await canvas.page.keyboard.type("disc");
    await canvas.page.reload();
    await canvas.opened();
    await expect.poll(() => canvas.shownMasks.count()).toBe(1);
    await expect.poll(() => canvas.objects.locator(".name").inputValue()).toBe("disc");
    expect(canvas.masks).toHaveLength(1); // it did not have to be asked for again
  });

  test("a picture that is chosen while saved work is read stays on stage", async () => {
    const canvas = await session.open();
    await canvas.pick(shapesPicture("saved.png"));
    await canvas.click(DISC.x, DISC.y);
    await expect.poll(() => canvas.stored()).toEqual({ "saved.png": [""] });
    await canvas.page.addInitScript(holdLocks);
    await canvas.page.reload();
    await canvas.pick(shapesPicture("new.png", 15));
    await canvas.page.evaluate(() => dispatchEvent(new Event("letgo")));
    await expect.poll(() => canvas.page.locator(".thumbnail").count()).toBe(2);
    await expect.poll(() => canvas.stored()).toEqual({ "saved.png": [""], "new.png": [] });
    expect(await canvas.page.locator(".file-name").textContent()).toBe("new.png");
  });

  test("the server dies and comes back: work can be taken out meanwhile, and goes on", async () => {
    session.tolerate(/WebSocket connection|ERR_CONNECTION_REFUSED/);
    const canvas = await session.open(undefined, async (page) => {
      await page.addInitScript(waitLong);
    });
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    const before = await canvas.drawn();
    await session.server.kill();
    await expect
      .poll(() => canvas.page.locator(".connection").getAttribute("data-status"))
      .not.toBe("online");
    await expect.poll(() => canvas.drawn()).toEqual(before);
    await canvas.page.getByRole("button", { name: "Export" }).click();
    const download = canvas.page.waitForEvent("download");
    await canvas.page.getByRole("button", { name: "COCO JSON" }).click();
    expect((await download).suggestedFilename()).toBe("shapes.coco.json");
    await canvas.page.mouse.click(...(await canvas.at(DISC.x + 25, DISC.y + 25)));
    const hint = canvas.page.locator(".hint");
    await expect.poll(() => hint.textContent()).toMatch(/^Not connected\. Your clicks are kept/);
    expect(await canvas.page.locator(".spinner").count()).toBe(0);
    await session.server.restart();
    await canvas.page.locator(".mark.include").first().click();
    await canvas.page.locator(CONNECTED).waitFor({ timeout: 10_000 });
    await canvas.settled();
    await expect.poll(() => canvas.page.locator(".mark.include").count()).toBe(2);
    await expect.poll(() => canvas.page.locator(".notice[data-kind=problem]").count()).toBe(0);
    await expect.poll(() => canvas.objects.count()).toBe(1);
  });

  test("on a slow network hovers stay few and no click is lost", async () => {
    let hovers = 0;
    const canvas = await session.open(undefined, async (page) => {
      await delaySocket(page, 150, () => hovers++);
    });
    await canvas.pick(shapesPicture());
    hovers = 0;
    for (let step = 0; step < 40; step++) {
      await canvas.page.mouse.move(...(await canvas.at(DISC.x - 60 + 3 * step, DISC.y)));
    }
    const sent = hovers;
    expect(sent).toBeLessThan(30);
    for (const [dx, dy] of [
      [0, 0],
      [20, 10],
      [-20, 15],
    ] as const) {
      await canvas.page.mouse.click(...(await canvas.at(DISC.x + dx, DISC.y + dy)));
    }
    await canvas.settled();
    await expect.poll(() => canvas.page.locator(".mark.include").count()).toBe(3);
    await expect.poll(() => canvas.shownMasks.count()).toBe(1);
  });

  test("a corrupt picture says what to do, and the next one works", async () => {
    const canvas = await session.open();
    const chooser = canvas.page.waitForEvent("filechooser");
    await canvas.page.getByRole("button", { name: "Choose photos" }).click();
    await (await chooser).setFiles([{ ...corruptPicture(), name: `${"sea ".repeat(40)}.png` }]);
    const failure = canvas.page.locator(".failure");
    await expect.poll(() => failure.textContent()).toMatch(/JPEG/);
    const widths = await failure.evaluate((card) => [card.scrollWidth, card.clientWidth]);
    expect(widths[0]).toBe(widths[1]); // however long the name
    await canvas.page.getByRole("button", { name: "Remove picture" }).click();
    await canvas.pick(shapesPicture());
    await canvas.click(DISC.x, DISC.y);
    await expect.poll(() => canvas.objects.count()).toBe(1);
  });

  test("a huge picture is refused in words", async () => {
    const canvas = await session.open();
    const chooser = canvas.page.waitForEvent("filechooser");
    await canvas.page.getByRole("button", { name: "Choose photos" }).click();
    await (await chooser).setFiles([hugePicture()]);
    await expect.poll(() => canvas.page.locator(".failure").textContent()).toMatch(/pixels/);
  });

  test("the next picture is fetched ahead, and opens from the server's cache", async () => {
    const opened: Record<string, unknown>[] = [];
    const canvas = await session.open(undefined, async (page) => {
      page.on("websocket", (socket) => {
        socket.on("framesent", ({ payload }) => {
          const message = decode(payload as Buffer) as Record<string, unknown>;
          if (message.type === "open") opened.push(message);
        });
      });
    });
    await canvas.pick(shapesPicture("one.png", 3), shapesPicture("two.png", 25));
    await expect.poll(() => opened.length, { timeout: 30_000 }).toBe(2);
    expect(opened[1]).toMatchObject({ prefetch: true });
    await canvas.stage.focus();
    await canvas.page.keyboard.press(".");
    await expect.poll(() => canvas.page.locator(".file-name").textContent()).toBe("two.png");
    await canvas.opened();
    await expect.poll(() => opened[2]?.sha256).toBe(opened[1]!.sha256);
  });

  test("two tabs do not touch each other's work", async () => {
    const first = await session.open();
    await first.pick(shapesPicture("first.png"));
    await first.click(DISC.x, DISC.y);
    const second = await session.tab();
    await second.page.getByText("Drop a photo").waitFor();
    await second.pick(shapesPicture("second.png", 10));
    await second.click(...MIDDLE_OF_SQUARE);
    const stored = { "first.png": [""], "second.png": [""] };
    await expect.poll(() => first.stored()).toEqual(stored);
    await Promise.all([first.page.reload(), second.page.reload()]);
    await Promise.all([first.opened(), second.opened()]);
    await expect.poll(() => first.page.locator(".file-name").textContent()).toBe("first.png");
    await expect.poll(() => second.page.locator(".file-name").textContent()).toBe("second.png");
    await expect.poll(() => first.objects.count()).toBe(1);
  });

  test("a page opened anew finds the work of tabs that were closed", async () => {
    const first = await session.open();
    await first.pick(shapesPicture("first.png"));
    await first.click(DISC.x, DISC.y);
    const second = await session.tab();
    await second.pick(shapesPicture("second.png", 10));
    await second.click(...MIDDLE_OF_SQUARE);
    const stored = { "first.png": [""], "second.png": [""] };
    await expect.poll(() => second.stored()).toEqual(stored);
    await Promise.all([first.page.close(), second.page.close()]);
    const third = await session.tab();
    await third.opened();
    await expect.poll(() => third.page.locator(".thumbnail").count()).toBe(2);
    await expect.poll(() => third.page.locator(".file-name").textContent()).toBe("first.png");
    await expect.poll(() => third.objects.count()).toBe(1);
  });

  test("a refused version stops and says so, in full on a phone too", async () => {
    const canvas = await session.open(PHONE, async (page) => {
      await page.addInitScript(() => {
        const Real = WebSocket;
        globalThis.WebSocket = class extends Real {
          constructor(url: string | URL) {
            super(url, "samwire.v0");
          }
        };
      });
    });
    const status = canvas.page.locator(".connection");
    await expect.poll(() => status.getAttribute("data-status")).toBe("stopped");
    const words = status.getByText(/Reload the page/);
    const { whole, seen } = await words.evaluate(({ scrollWidth: whole, clientWidth: seen }) => {
      return { whole, seen };
    });
    expect(seen).toBe(whole);
  });

  test("on a phone: tap, long press, pinch, and a second object", async () => {
    const canvas = await session.open(PHONE);
    await canvas.pick(shapesPicture());
    await canvas.page.touchscreen.tap(...(await canvas.at(DISC.x, DISC.y)));
    await canvas.settled();
    await expect.poll(() => canvas.shownMasks.count()).toBe(1);
    const touch = await fingers(canvas.page);
    await touch("touchStart", [await canvas.at(DISC.x + 60, DISC.y)]);
    await expect.poll(() => canvas.page.locator(".mark.exclude").count()).toBe(1);
    await touch("touchEnd", []);
    await canvas.settled();
    const width = await canvas.page.locator(".world").evaluate((world) => world.clientWidth);
    const [x, y] = await canvas.at(320, 420);
    await touch("touchStart", [
      [x - 30, y],
      [x + 30, y],
    ]);
    for (let step = 1; step <= 5; step++) {
      await touch("touchMove", [
        [x - 30 - 8 * step, y],
        [x + 30 + 8 * step, y],
      ]);
    }
    await touch("touchEnd", []);
    const zoomed = () => canvas.page.locator(".world").evaluate((world) => world.clientWidth);
    await expect.poll(zoomed).toBeGreaterThan(width * 1.5);
    await expect.poll(() => canvas.page.locator(".mark").count()).toBe(2);
    await canvas.page.getByRole("button", { name: "Keep" }).tap();
    await canvas.page.getByRole("button", { name: "Objects (1)" }).tap();
    await expect.poll(() => canvas.objects.count()).toBe(1);
    await expect
      .poll(() => canvas.page.evaluate(() => document.body.scrollWidth))
      .toBeLessThanOrEqual(390);
  });
});

/** Saved work is read only once the page is told `letgo`. */
function holdLocks(): void {
  const request = navigator.locks.request.bind(navigator.locks);
  const told = new Promise((resolve) => addEventListener("letgo", resolve, { once: true }));
  Object.assign(navigator.locks, {
    request: async (...args: Parameters<typeof request>) => {
      await told;
      return request(...args);
    },
  });
}

/** No back-off ends before its longest. */
function waitLong(): void {
  Math.random = () => 30;
}

/** Every frame takes its time, both ways. */
async function delaySocket(page: Page, ms: number, onHover: () => void): Promise<void> {
  await page.routeWebSocket(/\/v1\/ws/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      if (message.toString().includes("hover")) onHover();
      setTimeout(() => server.send(message), ms);
    });
    server.onMessage((message) => setTimeout(() => socket.send(message), ms));
  });
}

async function fingers(page: Page) {
  const devtools = await page.context().newCDPSession(page);
  return (type: "touchStart" | "touchMove" | "touchEnd", points: [number, number][]) =>
    devtools.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: points.map(([x, y], id) => ({ x, y, id })),
    });
}
