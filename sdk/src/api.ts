/** What all copies of the script on a page share, and the one way in: nothing that a page passes makes it throw. */

import { client, type Client } from "./client.js";
import { inPage, listenTo, now } from "./globals.js";
import type { Options } from "./types.js";
import { warner } from "./warnings.js";

/** As the stub notes it too: name, arguments, and when and where it was called. */
export type Call = [name: string, given: ArrayLike<unknown>, at: number, address: string];

/** What all copies of the script on one page share, whoever loads them: a page has one collector. */
interface Shared {
  client?: Client;
  /** Until there is one, oldest first. */
  calls: Call[];
  /** Where the script came from. */
  home?: string | undefined;
}

const SLOT = Symbol.for("unjoin");
const CALLS_MAX = 1_000;

export const shared: Shared = (inPage && ((globalThis as any)[SLOT] ??= { calls: [] })) || { calls: [] };
let warn = warner(false);

function start(options: Options): void {
  warn = warner(options.silent);
  if (!options.key) return warn("no key: unjoin sites list");
  if (!shared.client) {
    shared.client = client(options, options.endpoint || shared.home || origin, warn);
    for (const call of shared.calls.splice(0)) perform(...call);
  } else if (shared.client.key !== options.key) warn("key not used: " + options.key);
  shared.client.start();
}

/** Does it, or notes it until there is a client; whatever is wrong with it is told in the console alone. */
export function perform(name: string, given: ArrayLike<unknown>, at?: number, address?: string): any {
  if (inPage)
    try {
      // Nobody has seen the page yet, and perhaps nobody will.
      if ((document as any).prerendering) listenTo(document, "prerenderingchange", () => perform(name, given));
      else if (name === "init") start(given[0] as Options);
      else {
        at ??= now();
        address ??= location.href;
        if (shared.client) return (shared.client as any)[name](given, at, address);
        if (shared.calls.length < CALLS_MAX) shared.calls.push([name, given, at, address]);
      }
    } catch (error) {
      warn(name, error);
    }
}
