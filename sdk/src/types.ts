/** What a page's author sees. The wire format behind it is described at `/docs` of a collector. */

/** What a person says about a task. */
export type LabelKind = "image_label" | "audio_transcript" | "text_answer";

/** What is collected by itself, each where the device has it and the browser permits it. */
export type SignalType = "pointer" | "scroll" | "key" | "touch" | "gyroscope" | "accelerometer";

/** What can be sent along with a page view or a use: an object of what JSON knows; an `interface` will do. */
export type Properties = object;

export interface Options {
  /** The site's browser key. It is public: the collector binds it to the site's origins. */
  key: string;
  /** Where the collector is, `https://collector.example`. Default: where the script came from, or the page's origin. */
  endpoint?: string | undefined;
  /** A session of your own, 1 to 64 of `A-Za-z0-9_.:-`. Default: random, one a tab, gone with the tab. */
  session?: string | undefined;
  /** Which signals to collect. Default: all. */
  collect?: readonly SignalType[] | undefined;
  /** Milliseconds after which what was gathered is sent, 200 to 30,000. Default 5,000. */
  interval?: number | undefined;
  /** Whether what could not be delivered may wait in IndexedDB for the next page. Default true. */
  persist?: boolean | undefined;
  /** The path at the endpoint, if something in between serves the collector's `/v1/events` under another one. */
  path?: string | undefined;
  /** Whether page views are noted by themselves, at first and whenever the address changes; "hash": routes such as `#/a/b` too. */
  views?: boolean | "hash" | undefined;
  /** "pending": nothing is collected, stored or sent before `grant()`. */
  consent?: "pending" | undefined;
  /** Whether the console stays empty, whatever is wrong. */
  silent?: boolean | undefined;
  /** Told what becomes of each event. */
  onOutcome?: ((outcome: Outcome) => void) | undefined;
}

/**
 * Each event is queued once, perhaps waits some times, and ends with one of the others.
 *
 * queued     it was made, and has its id
 * waiting    the collector could not be reached or could not take it; it goes again under the same id
 * beaconed   it left with a page that closed; IndexedDB keeps it too, and the next page sends it once more. With the
 *            reason unkept that is not sure: it was made too late, or there is no IndexedDB
 * accepted   the collector has made it durable
 * rejected   this event cannot be taken, for `reason`; it is not sent again
 * refused    the collector refused the whole request, for `reason` (or HTTP status); it is not sent again
 * dropped    lost, for `reason`: queue_full, too_old (a day in IndexedDB), page_closed (the browser took no more),
 *            no_consent, opaque_origin (a sandboxed iframe)
 */
export type Fate = "queued" | "waiting" | "beaconed" | "accepted" | "rejected" | "refused" | "dropped";

/** An event as it is sent. */
export interface SentEvent {
  id: string;
  type: string;
  ts: number;
  [field: string]: unknown;
}

export interface Outcome {
  fate: Fate;
  event: SentEvent;
  reason?: string | undefined;
}

/** How many times each fate was told on this page, and how many events are pending: made, or taken over, and not settled. */
export type Counts = Record<Fate | "pending", number>;
