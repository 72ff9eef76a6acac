/** A browser for a file of tests, a fresh context and no complaint for each. */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { chromiumIsMissing, complaints, DESKTOP, HOW_TO_INSTALL, launch } from "./browser.ts";
import { CanvasPage } from "./canvas-page.ts";
import { Server } from "./server.ts";

export interface Session {
  readonly server: Server;
  /** A page in a browser context of its own. */
  open(
    options?: BrowserContextOptions,
    prepare?: (page: Page) => Promise<void>,
  ): Promise<CanvasPage>;
  /** Another tab of the last context. */
  tab(): Promise<CanvasPage>;
  /** What the page may complain of in this test. */
  tolerate(pattern: RegExp): void;
}

/** Missing Chromium skips these tests, with how to install it; in CI it fails them. */
export const skipped = chromiumIsMissing && !process.env.CI;
if (skipped) console.warn(HOW_TO_INSTALL);

export function useSession(): Session {
  let browser: Browser;
  let server: Server;
  let contexts: BrowserContext[] = [];
  let found: string[][] = [];
  let tolerated: RegExp[] = [];

  beforeAll(async () => {
    if (chromiumIsMissing) throw new Error(HOW_TO_INSTALL);
    [browser, server] = await Promise.all([launch(), Server.start()]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.kill("SIGTERM");
  });
  afterEach(async () => {
    const unexpected = found.flat().filter((text) => !tolerated.some((one) => one.test(text)));
    await Promise.all(contexts.map((context) => context.close()));
    [contexts, found, tolerated] = [[], [], []];
    expect(unexpected).toEqual([]);
  });

  async function newPage(context: BrowserContext, prepare?: (page: Page) => Promise<void>) {
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    found.push(complaints(page));
    await prepare?.(page);
    return CanvasPage.open(page, server.url);
  }

  return {
    get server() {
      return server;
    },
    async open(options = DESKTOP, prepare) {
      const context = await browser.newContext(options);
      contexts.push(context);
      return newPage(context, prepare);
    },
    tab: () => newPage(contexts.at(-1)!),
    tolerate: (pattern) => tolerated.push(pattern),
  };
}
