/**
 * The notices of the packages that are really in the page, in a file beside it.
 *
 * Vite has an option for this (`build.license`), which leaves out what only workers bundle.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

export const NOTICES = "third-party-notices.txt";

const PACKAGE = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;
const TITLE = /^(licen[cs]e|copying|notice)/i;

/** Two plugins that know of each other: workers are bundled by themselves, and before the page. */
export function thirdPartyNotices(): { page: Plugin; worker: Plugin } {
  const folders = new Set<string>();
  const collect: Plugin["generateBundle"] = (_, bundle) => {
    for (const part of Object.values(bundle)) {
      const modules = part.type === "chunk" ? part.moduleIds : [];
      for (const id of modules) folders.add(PACKAGE.exec(id)?.[0] ?? "");
    }
  };
  return {
    worker: { name: "notices:worker", generateBundle: collect },
    page: {
      name: "notices:page",
      apply: "build",
      generateBundle(...bundled) {
        collect.call(this, ...bundled);
        const notices = [...folders].filter(Boolean).sort().map(noticeOf);
        this.emitFile({ type: "asset", fileName: NOTICES, source: notices.join("\n\n\n") });
      },
    },
  };
}

/** A package without any is not to be shipped: the build ends here. */
function noticeOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const files = readdirSync(folder).filter((file) => TITLE.test(file));
  if (files.length === 0) throw new Error(`${name} has no licence file to go with the page.`);
  const texts = files.sort().map((file) => readFileSync(join(folder, file), "utf8").trim());
  const title = `${name} ${version} (${license})`;
  return [title, "=".repeat(title.length), "", texts.join("\n\n")].join("\n");
}
