import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Latency, percentile } from "../../../src/app/work/latency.ts";
import { Notices, sentence } from "../../../src/app/work/notices.ts";
import { SamwireError } from "../../../src/client/errors.ts";
import schema from "../../../src/client/schema.json" with { type: "json" };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("every error of the server's table is a sentence of ours, or needs none", () => {
  // Those that never reach a request: the connection's own, and the library's mistakes.
  const internal = ["bad_data", "bad_field", "bad_frame", "bad_id", "frame_too_big", "text_frame"];
  const others = ["hello_required", "idle", "slow_reader"];
  const elsewhere = [...internal, ...others, "unknown_field", "unknown_type", "prior_gone"];
  for (const code of schema.errors.filter((one) => !elsewhere.includes(one))) {
    const text = sentence(new SamwireError(code, "raw"));
    if (code !== "not_open") expect(text, code).toMatch(/^[A-Z].*\.$/);
  }
});

test("a file that is gone is named", () => {
  const gone = new SamwireError("unreadable", "");
  expect(sentence(gone, "a.png")).toBe("a.png could not be read. Choose it again.");
  expect(sentence(gone)).toBe("The file could not be read. Choose it again.");
});

test("what the page mends by itself is not told", () => {
  for (const code of ["superseded", "connection_lost"]) {
    expect(sentence(new SamwireError(code, ""))).toBeNull();
  }
  expect(sentence(new SamwireError("brand_new", "Said so."))).toBe("Said so. (brand_new)");
  expect(sentence(new TypeError("x"))).not.toMatch(/TypeError/);
});

test("a notice is said once and goes by itself", () => {
  const notices = new Notices();
  notices.info("Saved.");
  notices.info("Saved.");
  expect(notices.list.get()).toHaveLength(1);
  vi.advanceTimersByTime(60_000);
  expect(notices.list.get()).toHaveLength(0);
});

test("percentiles are values that occurred", () => {
  const values = [5, 1, 4, 2, 3];
  expect([percentile(values, 0.5), percentile(values, 0.95), percentile([], 0.5)]).toEqual([
    3, 5, 0,
  ]);
});

test("the latency read-out splits the last mask's time", () => {
  const latency = new Latency();
  const timings = { queue_ms: 2, decode_ms: 10, post_ms: 3, batch: 1 };
  for (const total of [20, 30, 40]) latency.add(total, { timings });
  expect(latency.reading.get()).toEqual({
    ...{ lastMs: 40, medianMs: 30, p95Ms: 40 },
    ...{ queueMs: 2, decodeMs: 13, networkMs: 25 },
  });
});
