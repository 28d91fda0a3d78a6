/** What a page calls. Nothing that it passes makes any of these throw; on a server they do nothing. */

import { perform, shared } from "./api.js";
import { noCounts } from "./client.js";
import type { Counts, LabelKind, Options, Properties } from "./types.js";

export type { Counts, Fate, LabelKind, Options, Outcome, Properties, SentEvent, SignalType } from "./types.js";

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
