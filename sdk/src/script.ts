/** The script tag: `window.unjoin`, started by itself where the tag names a key, so that no inline script is needed. */

import * as unjoin from "./index.js";
import type { Options } from "./index.js";

const tag = document.currentScript as HTMLScriptElement | null;
const home = tag?.src ? new URL(tag.src).origin : undefined;
const init = (options: Options): void => unjoin.init({ endpoint: home, ...options });

const { label, page, track, flush, motion, stop, session, counts } = unjoin;
Object.assign(globalThis, { unjoin: { init, label, page, track, flush, motion, stop, session, counts } });

if (tag?.dataset.key) {
  const { key, endpoint, collect } = tag.dataset;
  init({
    key,
    ...(endpoint && { endpoint }),
    ...(collect !== undefined && { collect: collect.split(" ") as NonNullable<Options["collect"]> }),
  });
}
