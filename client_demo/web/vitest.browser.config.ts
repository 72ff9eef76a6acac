import { defineConfig } from "vitest/config";

// One browser, one server: the files run one after the other.
export default defineConfig({
  test: {
    include: ["tests/browser/**/*.test.ts"],
    environment: "node",
    testTimeout: 90_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    // Tests wait for what they expect to see; on a busy machine that may take its time.
    expect: { poll: { timeout: 30_000 } },
  },
});
