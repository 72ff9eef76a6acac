import { defineConfig } from "vitest/config";

// One browser, one server: the files run one after the other.
export default defineConfig({
  test: {
    include: ["tests/browser/**/*.test.ts"],
    environment: "node",
    testTimeout: 90_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    retry: 2, // a real browser on a busy machine may draw later than any fixed wait
  },
});
