/** What a page's author sees. The wire format behind it is described at `/docs` of a collector. */

/** What a person says about a task. */
export type LabelKind = "image_label" | "audio_transcript" | "text_answer";

/** What is collected by itself, each where the device has it and the browser permits it. */
export type SignalType = "pointer" | "scroll" | "key" | "touch" | "gyroscope" | "accelerometer";

/** What can be sent along with a page view or a use: plain JSON. */
export type Properties = { [name: string]: unknown };

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
  /** Told what becomes of each event. */
  onOutcome?: ((outcome: Outcome) => void) | undefined;
}

/**
 * queued     it has its id and waits to be sent
 * waiting    the collector could not be reached or could not take it; it goes again under the same id
 * beaconed   it left with a page that closed; where IndexedDB keeps it too, the next page sends it once more
 * accepted   the collector has made it durable
 * rejected   the collector refused this event, for `reason`; it is not sent again
 * refused    the collector refused the whole request, for `reason` (or HTTP status); it is not sent again
 * dropped    the queue was full, or it waited for more than a day
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

/** How many times each fate was told on this page: an event may wait more than once, and one of an earlier page be sent. */
export type Counts = Record<Fate, number>;
