/** What a page calls. */

import { client, type Client } from "./client.js";
import type { Counts, LabelKind, Options, Properties } from "./types.js";

export type { Counts, Fate, LabelKind, Options, Outcome, Properties, SentEvent, SignalType } from "./types.js";

let running: Client | undefined;

function started(): Client {
  if (!running) throw new Error("unjoin: call init({ key }) first");
  return running;
}

/** Starts collecting. A second call changes nothing. */
export function init(options: Options): void {
  if (!options?.key) throw new Error("unjoin: init needs a key, as `unjoin sites list` shows it");
  running ??= client(options, options.endpoint ?? location.origin);
}

/** Sends what the person answered. It counts as one vote a session, task and day. */
export function label(task: string, answer: string, kind: LabelKind = "image_label"): void {
  started().label(task, answer, kind);
}

/** Notes that this page was seen. Nothing where the visitor opted out. */
export function page(properties: Properties = {}): void {
  started().analytics("page_view", properties);
}

/** Notes that something was used; its name travels as the property `event`. Nothing where the visitor opted out. */
export function track(event: string, properties: Properties = {}): void {
  started().analytics("usage", { ...properties, event });
}

/** Sends what there is now; resolves when the collector has answered, or could not be reached. */
export function flush(): Promise<void> {
  return started().flush();
}

/** Asks for motion where the browser wants to be asked (iOS): call it from within a click. Whether it is permitted. */
export function motion(): Promise<boolean> {
  return started().motion();
}

/** Collects no more signals, and sends what there is. */
export function stop(): Promise<void> {
  return started().stop();
}

/** The session's id, for the page's own server to ask for a verdict about. */
export function session(): string {
  return started().session;
}

/** How many events came to which fate, on this page. */
export function counts(): Counts {
  return { ...started().counts };
}
