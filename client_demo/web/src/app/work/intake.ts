/** Files from wherever they come: dropped, pasted, picked, photographed, or one of the samples. */
import { SamwireError } from "../../client/index.ts";
import { Store } from "../state/store.ts";
import type { Context } from "./context.ts";
import { droppedFiles } from "./drops.ts";
import type { Exchange } from "./exchange.ts";
import type { Gallery } from "./gallery.ts";

export interface Sample {
  readonly file: string;
  readonly title: string;
}

export const SAMPLES: readonly Sample[] = [
  { file: "still-life", title: "Still life" },
  { file: "toys", title: "Toys" },
  { file: "street", title: "Street" },
];

export function sampleUrl({ file }: Sample, small = false): string {
  return new URL(`samples/${file}${small ? "-small" : ""}.webp`, document.baseURI).href;
}

export class Intake {
  /** Something is being dragged over the page. */
  readonly dragging = new Store(false);
  readonly #picker = fileInput("image/*,.json", true);
  readonly #camera = fileInput("image/*", false);

  constructor(
    private readonly context: Context,
    private readonly gallery: Gallery,
    private readonly exchange: Exchange,
  ) {
    this.#camera.capture = "environment";
    for (const input of [this.#picker, this.#camera]) {
      input.addEventListener("change", () => {
        this.take([...(input.files ?? [])]);
        input.value = "";
      });
      document.body.append(input);
    }
    this.#listen();
  }

  pick(): void {
    this.#picker.click();
  }

  photograph(): void {
    this.#camera.click();
  }

  async openSample(sample: Sample): Promise<void> {
    try {
      const response = await fetch(sampleUrl(sample));
      if (!response.ok) throw new Error(String(response.status));
      this.gallery.add([{ blob: await response.blob(), name: `${sample.file}.webp` }]);
    } catch {
      this.context.notices.failure(new SamwireError("unreachable", "Could not fetch the sample."));
    }
  }

  /** Pictures onto the stage, a COCO file to the pictures there. */
  take(files: readonly File[]): void {
    for (const file of files.filter(isJson)) void this.exchange.load(file);
    const others = files.filter((file) => !isJson(file));
    const [texts, pictures] = [others.filter(isText), others.filter((file) => !isText(file))];
    if (texts.length > 0) {
      const names = texts.map(({ name }) => name).join(", ");
      this.context.notices.info(`Left out ${names}: text is no picture.`);
    }
    this.gallery.add(pictures.map((blob) => ({ blob, name: blob.name })));
  }

  async #drop(items: Iterable<DataTransferItem>): Promise<void> {
    try {
      const files = await droppedFiles(items);
      if (files.length > 0) this.take(files);
      else this.context.notices.info("There is no picture in what was dropped.");
    } catch {
      this.context.notices.problem("That folder could not be read. Choose the pictures instead.");
    }
  }

  #listen(): void {
    let depth = 0;
    const drag = (change: number) => {
      depth = Math.max(0, depth + change);
      this.dragging.set(depth > 0);
    };
    addEventListener("dragenter", () => drag(1));
    addEventListener("dragleave", () => drag(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      this.dragging.set(false);
      void this.#drop(event.dataTransfer?.items ?? []);
    });
    addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length > 0) this.take(files);
    });
  }
}

function isJson({ type, name }: File): boolean {
  return type === "application/json" || name.endsWith(".json");
}

function isText({ type }: File): boolean {
  return type.startsWith("text/");
}

function fileInput(accept: string, multiple: boolean): HTMLInputElement {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", accept, multiple, hidden: true, tabIndex: -1 });
  input.setAttribute("aria-hidden", "true");
  return input;
}
