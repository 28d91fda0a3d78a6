// Builds dist/ and the collector's copy of the script: `node build.mjs`. With --dist: without that copy. With --test: what
// test/ imports. With --out FOLDER: the script alone, there. The same sources and the same esbuild give the same bytes.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const from = (...names) => join(here, ...names);
const { version } = JSON.parse(readFileSync(from("package.json"), "utf8"));
const SERVED = from("..", "ingest", "sdk.js");

// Safari 15 and the browsers of its year.
const shared = { bundle: true, minify: true, target: ["es2020"], legalComments: "none", charset: "ascii", absWorkingDir: here };
const banner = { js: `/* unjoin ${version}, Apache-2.0 */` };

const script = (outfile) =>
  build({ ...shared, banner, entryPoints: ["src/script.ts"], format: "iife", outfile });

const [mode, folder] = process.argv.slice(2);
if (mode === "--test") {
  rmSync(from("build"), { recursive: true, force: true });
  const entryPoints = readdirSync(from("src")).map((name) => join("src", name));
  await build({ entryPoints, outdir: "build", format: "esm", target: "es2022", absWorkingDir: here });
} else if (mode === "--out") {
  await script(join(folder, "unjoin.js"));
} else {
  rmSync(from("dist"), { recursive: true, force: true });
  mkdirSync(from("dist"));
  await script("dist/unjoin.js");
  await build({ ...shared, banner, entryPoints: ["src/index.ts"], format: "esm", outfile: "dist/index.js" });
  const tsc = [from("node_modules", "typescript", "lib", "tsc.js"), "--project", here, "--emitDeclarationOnly"];
  execFileSync(process.execPath, tsc, { stdio: "inherit" });
  if (mode !== "--dist") copyFileSync(from("dist", "unjoin.js"), SERVED);
  for (const name of ["unjoin.js", "index.js"]) {
    const bytes = readFileSync(from("dist", name));
    console.log(`${name}: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} gzipped`);
  }
}
