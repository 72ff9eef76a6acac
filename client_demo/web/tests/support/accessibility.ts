/** What axe-core finds wrong with a page as it stands, by the rules of WCAG 2.1 A and AA. */
import type { RunOptions } from "axe-core";
import axe from "axe-core";
import type { Page } from "playwright-core";

const OPTIONS: RunOptions = {
  runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] },
  resultTypes: ["violations"],
};

/** Before the page loads: its policy lets in no script that is not its own. */
export async function addAuditor(page: Page): Promise<void> {
  await page.addInitScript({ content: axe.source });
}

/** One line for each element that breaks a rule. */
export async function violations(page: Page): Promise<string[]> {
  const found = await page.evaluate(async (options) => {
    const auditor = (globalThis as unknown as { axe: typeof axe }).axe;
    return (await auditor.run(document, options)).violations;
  }, OPTIONS);
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`),
  );
}
