import { readFileSync } from "node:fs";
import { build, type Rolldown } from "vite";
import { expect, test } from "vitest";
import { NOTICES } from "../../scripts/notices.ts";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");

test("every package that goes out with the page has its notice beside it, those of workers too", async () => {
  const root = decodeURIComponent(ROOT.pathname);
  const built = await build({ root, logLevel: "silent", build: { write: false } });
  const { output } = built as Rolldown.RolldownOutput;
  const asset = output.find(({ fileName }) => fileName === NOTICES) as Rolldown.OutputAsset;
  const notices = String(asset.source);
  // Whatever is not for development only is in the page; which is in which bundle is no matter.
  const { packages } = JSON.parse(read("package-lock.json"));
  const shipped = Object.keys(packages).filter((path) => path !== "" && !packages[path].dev);
  expect(shipped.length).toBeGreaterThan(0);
  for (const path of shipped) {
    const { version, license } = packages[path];
    expect(notices).toContain(`${path.slice("node_modules/".length)} ${version} (${license})`);
    expect(notices).toContain(read(`${path}/LICENSE`).trim());
  }
  expect(notices.match(/^=+$/gm)).toHaveLength(shipped.length);
}, 60_000);
