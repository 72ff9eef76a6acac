/** The page as a user meets it: open, point, wait for the mask. */
import { decode } from "@msgpack/msgpack";
import type { Locator, Page, WebSocket } from "playwright-core";
import { expect } from "vitest";
import type { StoredPicture } from "../../src/app/persist/database.ts";
import type { ClientMessage, MaskReply, ServerMessage } from "../../src/client/messages.ts";
import { fromRle, hitTester, type Rle } from "../../src/client/rle/runs.ts";
import type { TestPicture } from "./pictures.ts";

const PATIENCE = { timeout: 45_000 };

export class CanvasPage {
  /** Every mask the server answered a click with, in order; hovers come as they like. */
  readonly masks: MaskReply[] = [];

  private constructor(readonly page: Page) {
    page.on("websocket", (socket) => this.#listen(socket));
  }

  #listen(socket: WebSocket): void {
    const clicks = new Set<number>();
    socket.on("framesent", ({ payload }) => {
      const message = decode(payload as Buffer) as ClientMessage;
      if (message.type === "segment" && message.kind !== "hover") clicks.add(message.id);
    });
    socket.on("framereceived", ({ payload }) => {
      const message = decode(payload as Buffer) as ServerMessage;
      if (message.type === "mask" && clicks.has(message.id)) this.masks.push(message);
    });
  }

  static async open(page: Page, url: string): Promise<CanvasPage> {
    const canvas = new CanvasPage(page);
    await page.goto(url);
    return canvas;
  }

  get stage(): Locator {
    return this.page.locator(".stage");
  }

  get objects(): Locator {
    return this.page.locator(".objects .object");
  }

  get shownMasks(): Locator {
    return this.page.locator(".masks g.mask:not(.hover):not(.hover-exclude)");
  }

  async pick(...pictures: TestPicture[]): Promise<void> {
    const chooser = this.page.waitForEvent("filechooser");
    const first = this.page.getByRole("button", { name: /Choose photos|Add pictures/ });
    await first.first().click();
    await (await chooser).setFiles(pictures);
    await this.opened();
  }

  /** The picture is on stage and the server has it. */
  async opened(): Promise<void> {
    await expect.poll(() => this.page.locator(".picture").evaluate(isShown), PATIENCE).toBe(true);
    await expect.poll(() => this.page.locator(".progress").count(), PATIENCE).toBe(0);
    expect(await this.page.locator(".failure").count()).toBe(0);
  }

  /** Where a pixel of the image is on the screen. */
  async at(x: number, y: number): Promise<[number, number]> {
    const box = await this.page.locator(".world").evaluate((world) => {
      const { left, top, width } = world.getBoundingClientRect();
      return [left, top, width / world.querySelector("img")!.naturalWidth] as const;
    });
    return [box[0] + x * box[2], box[1] + y * box[2]];
  }

  async click(x: number, y: number, button: "left" | "right" = "left"): Promise<void> {
    await this.page.mouse.click(...(await this.at(x, y)), { button });
    await this.settled();
  }

  async drag(from: [number, number], to: [number, number]): Promise<void> {
    await this.page.mouse.move(...(await this.at(...from)));
    await this.page.mouse.down();
    await this.page.mouse.move(...(await this.at(...to)), { steps: 6 });
    await this.page.mouse.up();
    await this.settled();
  }

  /** What was done is drawn, and nothing is being asked any more. */
  async settled(): Promise<void> {
    await this.#framesDrawn();
    await expect.poll(() => this.page.locator(".spinner").count(), PATIENCE).toBe(0);
    await this.#framesDrawn(); // the panel knows of a mask a frame before the stage has drawn it
  }

  async #framesDrawn(): Promise<void> {
    await this.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
  }

  /** Areas in the list, exact to the pixel up to ten thousand. */
  async areas(): Promise<string[]> {
    return this.objects.locator(".edit").allTextContents();
  }

  /** The path data of what is drawn: the same text is the same mask. */
  async drawn(): Promise<string[]> {
    return this.shownMasks
      .locator(".shape")
      .evaluateAll((paths) => paths.map((path) => path.getAttribute("d") ?? ""));
  }

  /** The answer to the nth click, from 1: the page may have it a moment before we do. */
  async answer(nth: number): Promise<MaskReply> {
    await expect.poll(() => this.masks.length, PATIENCE).toBeGreaterThanOrEqual(nth);
    return this.masks[nth - 1]!;
  }

  /** What a reload would find: of each picture the names of the objects that have a mask. */
  async stored(): Promise<Record<string, string[]>> {
    const pictures = await this.page.evaluate(readPictures);
    const labels = ({ objects }: StoredPicture) =>
      objects.filter(({ shapes }) => shapes.length > 0).map(({ label }) => label);
    return Object.fromEntries(pictures.map((picture) => [picture.name, labels(picture)]));
  }
}

async function readPictures(): Promise<StoredPicture[]> {
  const result = <Value>(request: IDBRequest<Value>) =>
    new Promise<Value>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const database = await result(indexedDB.open("samwire"));
  const pictures = database.transaction("pictures").objectStore("pictures");
  const stored: StoredPicture[] = await result(pictures.getAll());
  database.close();
  return stored;
}

function isShown(image: HTMLImageElement | SVGElement): boolean {
  return image instanceof HTMLImageElement && image.naturalWidth > 0;
}

export function overlap(first: Rle, second: Rle): number {
  const [a, b] = [fromRle(first), fromRle(second)];
  const [inA, inB] = [hitTester(a), hitTester(b)];
  let [both, either] = [0, 0];
  for (let x = 0; x < a.width; x++) {
    for (let y = 0; y < a.height; y++) {
      const [left, right] = [inA(x, y), inB(x, y)];
      if (left && right) both += 1;
      if (left || right) either += 1;
    }
  }
  return either === 0 ? 1 : both / either;
}
