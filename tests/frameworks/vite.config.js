// The three pages, built as a site would: `vite build --mode development` keeps React's StrictMode strict.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const page = (name) => fileURLToPath(new URL(`${name}/index.html`, import.meta.url));

export default defineConfig({
  base: "/built/",
  resolve: { alias: { unjoin: process.env.UNJOIN_SDK ?? "unjoin" } },
  esbuild: { jsx: "automatic" },
  define: { "process.env.NODE_ENV": '"development"' },
  build: { minify: false, rollupOptions: { input: ["react", "vue", "plain"].map(page) } },
});
