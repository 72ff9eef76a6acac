import { expect, test } from "vitest";
import { afterClose, backoffMs } from "../../../src/client/reconnect.ts";

test.each([
  ["stop", [1002, 1003, 1009, 4001, 4003, 4008]],
  ["retry", [1006, 1011, 1012, 1013, 4102, 1001, 1005]],
  ["sleep", [1000, 4204]],
] as const)("these codes mean: %s", (meaning, codes) => {
  for (const code of codes) expect(afterClose(code)).toBe(meaning);
});

test("the delay doubles from a random second up to half a minute", () => {
  const delays = [0, 1, 2, 3, 10].map((attempt) => backoffMs(attempt, () => 0.5));
  expect(delays).toEqual([500, 1000, 2000, 4000, 30_000]);
  expect(backoffMs(5, () => 0)).toBe(0);
});
