/** Masks off the main thread: the page's side of the door. */
import { RleError } from "./codec.ts";
import type { Answer, JobName, Question } from "./door.ts";
import { type Jobs, type Traced, trace } from "./jobs.ts";
import type { Rle } from "./runs.ts";

/** Some hundred runs, traced within about a millisecond: what two messages may take by themselves. */
const SMALL_BYTES = 1 << 10;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class MaskWorker {
  #worker: Worker | null;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor() {
    this.#worker = this.#start(); // at once: the first mask should not wait for it
  }

  run<Name extends JobName>(
    name: Name,
    ...args: Parameters<Jobs[Name]>
  ): Promise<ReturnType<Jobs[Name]>> {
    const id = ++this.#lastId;
    this.#worker ??= this.#start();
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
    this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = (event: MessageEvent<Answer>) => this.#settle(event.data);
    worker.onerror = ({ message }) => this.#broke(message);
    return worker;
  }

  /** It did not load, or broke outside of any job: nothing of it will be answered. */
  #broke(message: string): void {
    this.#worker?.terminate();
    this.#worker = null; // the next job tries again with a new one
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ("error" in answer) waiting?.reject(new RleError(answer.error));
    else waiting?.resolve(answer.value);
  }
}
