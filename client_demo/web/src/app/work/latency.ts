/** How long masks take, and where the time goes. */
import type { MaskReply } from "../../client/index.ts";
import { Store } from "../state/store.ts";

export interface LatencyReading {
  readonly lastMs: number;
  readonly medianMs: number;
  readonly p95Ms: number;
  readonly queueMs: number;
  readonly decodeMs: number;
  readonly networkMs: number;
}

const WINDOW = 100;

export class Latency {
  readonly reading = new Store<LatencyReading | null>(null);
  readonly #recent: number[] = [];

  add(totalMs: number, { timings }: Pick<MaskReply, "timings">): void {
    this.#recent.push(totalMs);
    if (this.#recent.length > WINDOW) this.#recent.shift();
    const served = timings.queue_ms + timings.decode_ms + timings.post_ms;
    this.reading.set({
      lastMs: totalMs,
      medianMs: percentile(this.#recent, 0.5),
      p95Ms: percentile(this.#recent, 0.95),
      queueMs: timings.queue_ms,
      decodeMs: timings.decode_ms + timings.post_ms,
      networkMs: Math.max(0, totalMs - served),
    });
  }
}

/** The smallest value that at least `share` of them do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}
