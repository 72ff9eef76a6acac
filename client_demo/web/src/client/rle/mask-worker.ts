/** Masks off the main thread: the page's side of the door. */
import { RleError } from "./codec.ts";
import type { Answer, JobName, Question } from "./door.ts";
import { type Jobs, type Traced, trace } from "./jobs.ts";
import type { Rle } from "./runs.ts";

/** Some hundred runs, traced within about a millisecond: what two messages may take by themselves. */
const SMALL_BYTES = 1 << 10;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: RleError): void;
}

export class MaskWorker {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor() {
    this.#worker.onmessage = (event: MessageEvent<Answer>) => this.#settle(event.data);
  }

  run<Name extends JobName>(
    name: Name,
    ...args: Parameters<Jobs[Name]>
  ): Promise<ReturnType<Jobs[Name]>> {
    const id = ++this.#lastId;
    this.#worker.postMessage({ id, name, args } as Question);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
    });
  }

  /** One mask in a hurry: here and now when it is small, since the way there and back would be longer. */
  trace(rle: Rle): Traced | Promise<Traced> {
    return rle.counts.length <= SMALL_BYTES ? trace(rle) : this.run("trace", rle);
  }

  terminate(): void {
    this.#worker.terminate();
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ("error" in answer) waiting?.reject(new RleError(answer.error));
    else waiting?.resolve(answer.value);
  }
}
