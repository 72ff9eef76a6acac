import { defineConfig } from "vitest/config";
import { thirdPartyNotices } from "./scripts/notices.ts";

const notices = thirdPartyNotices();

// The page lands where the server serves it from; assets stay files, since the policy allows `self`
// but a data: script or style would not load.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../../server/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  plugins: [notices.page],
  worker: { format: "es", plugins: () => [notices.worker] },
  server: { proxy: { "/v1": { target: "http://localhost:8000", ws: true } } },
  test: { include: ["tests/unit/**/*.test.ts"], environment: "node" },
});
