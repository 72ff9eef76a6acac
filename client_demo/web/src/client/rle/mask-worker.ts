/** Masks off the main thread: the page's side of the door. */
import { RleError } from "./codec.ts";
import type { Answer, JobName, Question } from "./door.ts";
import type { Jobs } from "./jobs.ts";

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
