/** The worker's side of an export. It gets one order and is ended after it, with all it holds. */
import { bundle, EXPORTERS } from "./files.ts";
import type { News, Order } from "./order.ts";
import { ExportError } from "./subject.ts";

addEventListener("message", (event: MessageEvent<Order>) => {
  make(event.data).catch((error) => {
    tell(error instanceof ExportError ? { refused: error.message } : { failed: String(error) });
  });
});

async function make({ kind, subjects, categories }: Order): Promise<void> {
  let made = 0;
  const done = (count: number) => {
    made += count;
    tell({ made });
  };
  const skipped: string[] = [];
  const context = { categories, done, skipped: (name: string) => void skipped.push(name) };
  const file = bundle(await EXPORTERS[kind](subjects, context), kind);
  tell({ file, skipped }, [file.bytes.buffer]);
}

function tell(news: News, transfer: Transferable[] = []): void {
  postMessage(news, { transfer });
}
