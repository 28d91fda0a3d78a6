/** What a page calls, and what its scripts share. Nothing that it passes makes any of these throw; on a server they do nothing. */

import { client, noCounts, type Client } from "./client.js";
import { inPage, listenTo, now } from "./globals.js";
import type { Counts, LabelKind, Options, Properties } from "./types.js";
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
  } else if (shared.client.key !== options.key) warn("second key not used: " + options.key);
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

/** Starts collecting. A second call only undoes `stop()`. */
export const init = (options: Options): void => perform("init", [options]);

/** Sends what the person answered. It counts as one vote a session, task and day. */
export const label = (task: string, answer: string, kind?: LabelKind): void => perform("label", [task, answer, kind]);

/** Notes that this page was seen. Nothing where the visitor opted out. */
export const page = (properties?: Properties): void => perform("page", [properties]);

/** Notes that something was used; its name travels as the property `event`. Nothing where the visitor opted out. */
export const track = (event: string, properties?: Properties): void => perform("track", [event, properties]);

/** Sends what there is now; resolves when the collector has answered, or could not be reached. */
export const flush = async (): Promise<void> => perform("flush", []);

/** Asks for motion where the browser wants to be asked (iOS): call it from within a click. Whether it is permitted. */
export async function motion(): Promise<boolean> {
  const sensors = (globalThis as any).DeviceMotionEvent;
  try {
    return !!sensors && (!sensors.requestPermission || (await sensors.requestPermission()) === "granted");
  } catch {
    return false; // not asked from within a click
  }
}

/** Collects no more signals, and sends what there is. `init` starts again. */
export const stop = async (): Promise<void> => perform("stop", []);

/** The visitor has consented: after `init({ consent: "pending" })`, or after `revoke()`. */
export const grant = (): void => perform("grant", []);

/** The visitor has not consented, or no more: what is unsent is dropped, and nothing more is collected. */
export const revoke = (): void => perform("revoke", []);

/** The session's id, for the page's own server to ask for a verdict about. Empty until there is one. */
export const session = (): string => (shared.client && perform("session", [])) || "";

/** How many events came to which fate, on this page. */
export const counts = (): Counts =>
  (shared.client && perform("counts", [])) || { ...noCounts, pending: shared.calls.length };
