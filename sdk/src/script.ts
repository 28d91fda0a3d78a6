/** The script tag: `window.unjoin`, started by itself where the tag names a key, so that no inline script is needed. */

import { perform, shared } from "./api.js";
import { counts, flush, init, motion, session, stop } from "./index.js";
import type { Call } from "./api.js";
import type { Options } from "./types.js";

const tag = document.currentScript as HTMLScriptElement | null;
if (tag?.src) shared.home ??= new URL(tag.src).origin;

// A page may have kept the stub, or functions of it.
const stub = (globalThis as any).unjoin;
const noted: Call[] | undefined = stub?.q;
const replay = (call: Call): void => perform(...call);
const q = { push: replay };
const calls: Record<string, unknown> = { init, flush, motion, stop, session, counts, q };
for (const name of ["label", "page", "track", "grant", "revoke"]) {
  calls[name] = (...given: unknown[]) => perform(name, given);
}
(globalThis as any).unjoin = Object.assign(noted ? stub : {}, calls);
noted?.forEach?.(replay);

if (tag?.dataset.key) init({ ...tag.dataset } as unknown as Options);
