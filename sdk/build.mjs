// Builds dist/ and the collector's copy of the script: `node build.mjs`. With --dist: without that copy. With --test: what
// test/ imports. With --out FOLDER: the scripts alone, there. The same sources, esbuild and terser give the same bytes.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const from = (...names) => join(here, ...names);
const { version } = JSON.parse(readFileSync(from("package.json"), "utf8"));
const SERVED = from("..", "ingest", "sdk.js");
const RELEASES = from("..", "ingest", "sdk_releases");
const BANNER = `/* unjoin ${version}, Apache-2.0 */\n`;
// Nothing of a wire or stored form, and nothing that another copy on the page calls.
const INTERNAL = /^(listens|press|lift|forget|claimed|gone|remove|claim|retryAfter|home|cut|take)$/;

// Safari 15 and the browsers of its year.
async function bundle(entry, format, outfile) {
  const shared = { bundle: true, minifySyntax: true, write: false, target: "es2021", charset: "ascii", absWorkingDir: here, tsconfigRaw: "{}" };
  const { outputFiles } = await build({ ...shared, entryPoints: [entry], format });
  const { code } = await minify(outputFiles[0].text, {
    ecma: 2020,
    module: format === "esm",
    toplevel: true,
    compress: { passes: 3, unsafe_arrows: true },
    mangle: { properties: { regex: INTERNAL } },
    format: { ascii_only: true, comments: false },
  });
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(outfile, BANNER + code + "\n");
}

async function scripts(folder) {
  await bundle("src/script.ts", "iife", join(folder, "unjoin.js"));
  await bundle("src/index.ts", "esm", join(folder, "index.js"));
  const stub = await minify(readFileSync(from("src", "stub.js"), "utf8"), { ecma: 2020 });
  writeFileSync(join(folder, "stub.js"), stub.code); // no newline: its hash is in policies
}

/** Who pinned the build that was served so far must find it after an upgrade: what was committed counts as published. */
function keepPublished() {
  let published;
  try {
    published = execFileSync("git", ["show", "HEAD:./ingest/sdk.js"], { cwd: from(".."), stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    published = readFileSync(SERVED); // no repository: a copy of its files
  }
  const hash = createHash("sha256").update(published).digest("hex").slice(0, 16);
  const list = join(RELEASES, "published.txt");
  const known = readFileSync(list, "utf8");
  if (published.equals(readFileSync(from("dist", "unjoin.js"))) || known.includes(hash)) return;
  writeFileSync(join(RELEASES, hash + ".js"), published);
  writeFileSync(list, known + hash + "\n");
}

const [mode, folder] = process.argv.slice(2);
if (mode === "--test") {
  rmSync(from("build"), { recursive: true, force: true });
  const entryPoints = readdirSync(from("src")).filter((name) => name.endsWith(".ts")).map((name) => join("src", name));
  await build({ entryPoints, outdir: "build", format: "esm", target: "es2022", absWorkingDir: here });
} else if (mode === "--out") {
  await scripts(folder);
} else {
  rmSync(from("dist"), { recursive: true, force: true });
  await scripts(from("dist"));
  const tsc = [from("node_modules", "typescript", "lib", "tsc.js"), "--project", here, "--emitDeclarationOnly"];
  execFileSync(process.execPath, tsc, { stdio: "inherit" });
  if (mode !== "--dist") {
    keepPublished();
    writeFileSync(SERVED, readFileSync(from("dist", "unjoin.js")));
  }
  for (const name of ["unjoin.js", "index.js", "stub.js"]) {
    const bytes = readFileSync(from("dist", name));
    console.log(`${name}: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} gzipped`);
  }
}
