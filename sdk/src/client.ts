/**
 * One page's way to the collector: gathers, seals batches, sends one at a time, and keeps each until it is settled.
 *
 * A batch is sealed after `interval`, when it is full, or when the page hides. It leaves the queue when the collector has
 * answered for it; until then it goes again under the same ids. When the collector is away, and whenever the page hides,
 * what is not settled is written to IndexedDB as well, so that the next page sends it if this one cannot. Signals have
 * batches of their own, every four intervals by a clock that nothing on the page moves, so that no request's time joins
 * an answer to them.
 */

import { isTransient, retryAfterMs, waitMs } from "./backoff.js";
import { EVENT_BYTES_MAX, bodyOf, bytesOf, isFull, overflow, type Batch } from "./batches.js";
import { cancel, keysOf, later, listenTo, now, request, ticks } from "./globals.js";
import { randomHex, uuid } from "./ids.js";
import { json } from "./json.js";
import { KEEPALIVE_BYTES_MAX, handOver, post } from "./post.js";
import { isOptedOut, withRoute, withoutQuery } from "./privacy.js";
import { listen, type Signals } from "./signals.js";
import { LEASE_MS, openStore, type Store } from "./store.js";
import type { Counts, Fate, LabelKind, Options, Properties, SentEvent, SignalType } from "./types.js";
import { onNavigation } from "./views.js";
import type { Warn } from "./warnings.js";

const INTERVAL_MS = 5_000;
/** Somebody's answer is worth a request of its own. */
const LABEL_MS = 1_000;
/** Intervals between two requests with signals. */
const SIGNALS_INTERVALS = 4;
const CLAIM_MS = 3_000;
const SESSION_ITEM = "unjoin-session";
const ALL: readonly SignalType[] = ["pointer", "scroll", "key", "touch", "gyroscope", "accelerometer"];

const isHidden = (): boolean => document.visibilityState === "hidden";

export const noCounts: Counts = {
  queued: 0,
  waiting: 0,
  beaconed: 0,
  accepted: 0,
  rejected: 0,
  refused: 0,
  dropped: 0,
  pending: 0,
};

type Making<Given> = (given: Given, at: number, address: string) => void;

/** What other copies of the script on the same page may call: these names and their meaning stay. */
export interface Client {
  readonly key: string;
  session(): string;
  counts(): Counts;
  label: Making<[task: string, answer: string, kind?: LabelKind]>;
  page: Making<[properties?: Properties]>;
  track: Making<[event: string, properties?: Properties]>;
  flush(): Promise<void>;
  stop(): Promise<void>;
  start(): void;
  grant(): void;
  revoke(): void;
}

/**
 * on             collects, keeps, sends
 * pending        keeps calls in memory until the visitor has consented; no signals, no storage, no request
 * no_consent     drops whatever is made
 * opaque_origin  the same, for the page has no origin that a collector could know, as in a sandboxed iframe
 */
type State = "on" | "pending" | "no_consent" | "opaque_origin";

export function client(options: Options, endpoint: string, warn: Warn): Client {
  const { key, onOutcome, views } = options;
  const home = new URL(options.path || "/v1/events", endpoint).href;
  const to = home + " " + key;
  const url = home + "?key=" + encodeURIComponent(key);
  const intervalMs = Math.min(30_000, Math.max(200, +options.interval! || INTERVAL_MS));
  const signalsMs = SIGNALS_INTERVALS * intervalMs;
  const counts = { ...noCounts };
  const addressOf = views === "hash" ? withRoute : withoutQuery;
  let address = addressOf(location.href);
  let referrer = withoutQuery(document.referrer);

  let state: State = origin === "null" ? "opaque_origin" : options.consent === "pending" ? "pending" : "on";
  let session = "";
  let open: Batch | undefined;
  /** What waits for its own time while signals are put into a batch. */
  let aside: Batch | undefined;
  let queue: Batch[] = [];
  /** Of batches that were given to the store, how many events it surely has; ids of those that left with a page that ended. */
  const stored = new Map<string, number>();
  const left = new Set<string>();
  let store: Store | undefined;
  let signals: Signals | undefined;
  let flying: Promise<void> | undefined;
  let flyingId = "";
  let claimedSome = false;
  /** Unless it comes back. */
  let gone = false;
  let departs = false;
  let room = KEEPALIVE_BYTES_MAX;
  let failures = 0;
  let notBefore = 0;
  let askedUntil = 0;
  let timer: number | undefined;
  let timerAt = 0;

  const explain = (reason: string): void => warn(`${reason}: see ${endpoint}/docs`);

  const all = (): Batch[] => (open ? [...queue, open] : queue);
  /** Whether the store surely has all of it: a batch may have grown since it was written. */
  const isKept = ({ id, events }: Batch): boolean => stored.get(id) === events.length;

  const tell = (fate: Fate, events: readonly string[], reason?: string): void => {
    counts[fate] += events.length;
    if (!onOutcome) return;
    for (const event of events) {
      try {
        onOutcome({ fate, event: JSON.parse(event) as SentEvent, reason });
      } catch (error) {
        warn("onOutcome threw", error);
      }
    }
  };

  const wake = (ms: number): void => {
    const at = ticks() + ms;
    if (timer !== undefined && timerAt <= at) return;
    cancel(timer);
    timerAt = at;
    timer = later(() => void flush(), ms);
  };

  // --- from events to batches -------------------------------------------------------------------------------------

  const add = (type: string, at: number, fields: object, ms: number, isLabel = false): void => {
    const named = { id: uuid(at), type, ts: at };
    const event = json({ ...named, ...fields }, EVENT_BYTES_MAX);
    const bytes = event ? bytesOf(event) + 1 : Infinity;
    const shown = event ?? json(named, EVENT_BYTES_MAX)!;
    const lost = bytes > EVENT_BYTES_MAX ? "too_large" : state !== "on" && state !== "pending" && state;
    if (!lost) {
      if (open && isFull(open.events.length, open.bytes, bytes)) {
        closeBatch();
        ms = 0;
      }
      open ??= { id: uuid(now()), to, at: now(), until: 0, session, events: [], bytes: 0, labels: false };
      open.events.push(shown);
      open.bytes += bytes;
      open.labels ||= isLabel;
      if (gone || failures || isHidden()) departSoon();
      wake(ms);
    }
    // At the end, for it takes the page's time: a browser may break it off while the page closes.
    tell("queued", [shown]);
    if (lost) tell(bytes > EVENT_BYTES_MAX ? "rejected" : "dropped", [shown], lost);
  };

  const lose = (batches: readonly Batch[], reason: string): void => {
    for (const batch of batches) tell("dropped", batch.events, reason);
    settle(batches);
  };

  const closeBatch = (): void => {
    if (!open) return;
    const batch = open;
    open = undefined;
    queue.push(batch);
    const over = overflow(queue);
    lose(over, "queue_full");
    if (failures && !over.includes(batch)) save([batch]);
  };

  const gather = (): void => signals?.take((type, fields) => add(type, now(), fields, intervalMs));

  /** Into a batch of their own: what else there is waits for its own time. */
  const takeSamples = (): void => {
    aside = open;
    open = undefined;
    gather();
    closeBatch();
    open = aside;
    aside = undefined;
  };

  // --- from batches to the collector ------------------------------------------------------------------------------

  const settle = (batches: readonly Batch[]): void => {
    queue = queue.filter((batch) => !batches.includes(batch));
    const kept = batches.map((batch) => batch.id).filter((id) => stored.delete(id));
    if (kept.length) store?.remove(kept);
  };

  /** Writes what is not settled; others leave it alone for a while, unless this page is gone. */
  const save = (batches: readonly Batch[] = all()): void => {
    if (!store || !batches.length) return;
    for (const batch of batches) {
      batch.until = gone ? 0 : now() + LEASE_MS;
      if (!stored.has(batch.id)) stored.set(batch.id, 0);
    }
    const sizes = batches.map((batch) => batch.events.length);
    store.put(batches, () => batches.forEach((batch, place) => stored.set(batch.id, sizes[place]!)));
  };

  /** Drops what is not on its way already. */
  const forget = (): void =>
    lose(
      queue.filter((batch) => batch.id !== flyingId),
      state,
    );

  /** Takes over what pages that are gone could not deliver; without consent it goes. */
  const claim = (): void => {
    const isOn = state === "on";
    store?.claim(to, now(), isOn ? now() + LEASE_MS : 0, (claimed, gone) => {
      for (const batch of gone) tell("dropped", batch.events, isOn ? "too_old" : "no_consent");
      for (const batch of claimed) {
        stored.set(batch.id, batch.events.length);
        if (!all().some((known) => known.id === batch.id)) queue.push(batch);
      }
      claimedSome = !!claimed.length;
      if (state !== "on") forget();
      else if (claimedSome) wake(0);
    });
  };

  const send = async (hurried?: boolean): Promise<void> => {
    for (let batch: Batch | undefined; !gone && (batch = queue[0]) && ticks() >= notBefore; ) {
      const { id, events, session } = batch;
      const isOurs = (): boolean => queue.includes(batch!);
      const onSend = (): boolean => isOurs() && !!(flyingId = id);
      const answer = await post(url, bodyOf(session, events, now()), hurried || !!failures, onSend);
      flyingId = "";
      if (!isOurs()) continue; // it left with a beacon, or another page has it
      if (isTransient(answer.status)) {
        if (state !== "on") return lose([batch], "no_consent");
        failures += 1;
        const askedMs = retryAfterMs(answer.retryAfter, now());
        askedUntil = ticks() + askedMs;
        notBefore = ticks() + waitMs(failures, askedMs, Math.random());
        tell("waiting", events);
        save();
        if (!answer.status && failures === 1) {
          // Does something answer that this page may not read?
          request(url, { mode: "no-cors", credentials: "omit" }).then(
            () => warn(`key or origin refused: unjoin sites add SITE --origin ${origin}`),
            () => 0,
          );
        }
      } else {
        settle([batch]);
        if (answer.status === 200) {
          const reasons = new Map(answer.rejected.map((rejected) => [rejected?.index, rejected]));
          events.forEach((event, index) => {
            const rejected = reasons.get(index);
            tell(rejected ? "rejected" : "accepted", [event], rejected?.reason);
            if (rejected) explain(rejected.reason);
          });
        } else {
          const reason = answer.error || "HTTP " + answer.status;
          tell("refused", events, reason);
          explain(reason);
        }
        if (failures || (claimedSome && !queue.length)) claim();
        failures = notBefore = askedUntil = 0;
      }
    }
  };

  const transmit = async (hurried?: boolean): Promise<void> => {
    const sending = (flying ??= send(hurried));
    await sending;
    if (flying === sending) flying = undefined;
    if (queue.length && !gone) wake(Math.max(0, notBefore - ticks()));
  };

  const flush = async (hurried?: boolean): Promise<void> => {
    cancel(timer);
    timer = undefined;
    if (state !== "on") return;
    closeBatch();
    await transmit(hurried);
  };

  // --- the page's life --------------------------------------------------------------------------------------------

  /** Says that they left with the page. */
  const leave = (batch: Batch, events: readonly string[]): readonly string[] => {
    tell("beaconed", events, isKept(batch) ? undefined : "unkept");
    return [];
  };

  /** Hands events to the browser, halves where it has no room for all; gives back what it did not take. */
  const hand = (batch: Batch, events: readonly string[]): readonly string[] => {
    const body = bodyOf(batch.session, events, now());
    const bytes = bytesOf(body);
    const half = events.length >> 1;
    if (bytes > room) return half ? [...hand(batch, events.slice(0, half)), ...hand(batch, events.slice(half))] : events;
    room -= bytes;
    handOver(url, body);
    return leave(batch, events);
  };

  /** The page may end with this turn of the event loop: whatever there is goes by itself, or waits for the next page. */
  const depart = (): void => {
    departs = false;
    if (gone) {
      // First what is there, and what `takeSamples` had put aside where the browser broke it off.
      closeBatch();
      open = aside;
      aside = undefined;
      closeBatch();
      gather();
      closeBatch();
      if (state !== "on") return lose(queue, "no_consent");
    } else {
      if (isHidden()) takeSamples();
      if (ticks() >= notBefore) void flush(true);
    }
    save(all().filter((batch) => gone || batch === open || !stored.has(batch.id)));
    if (!gone) return;
    for (const batch of queue) {
      // The next page sends what is kept when the collector wants it; what is not has this chance alone.
      if (left.has(batch.id) || (isKept(batch) && ticks() < askedUntil)) continue;
      // What flies may outlive the page by itself; where nothing else keeps it, it goes once more.
      const stays = (store && batch.id === flyingId ? leave : hand)(batch, batch.events);
      left.add(batch.id);
      // Nobody will hear the answer: what IndexedDB keeps goes again from the next page, under the same ids.
      if (!store) {
        tell("dropped", stays, "page_closed");
        settle([batch]);
      }
    }
  };

  /** After whoever makes events in the same turn, as in `pagehide`, has made them all. */
  const departSoon = (): void => {
    if (!departs) void Promise.resolve().then(depart);
    departs = true;
  };

  // Comes after `pagehide` too: Firefox breaks a script off that still runs when it closes a page, and only that one.
  listenTo(document, "visibilitychange", () => {
    if (gone || isHidden()) depart();
  });
  listenTo(window, "pagehide", () => {
    gone = true;
    depart();
  });
  listenTo(window, "pageshow", (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    gone = false;
    room = KEEPALIVE_BYTES_MAX;
    notBefore = askedUntil;
    // Another page may have them by now; what nobody took comes back.
    queue = queue.filter((batch) => !isKept(batch));
    left.clear();
    claim();
    wake(0);
  });
  listenTo(window, "online", () => {
    notBefore = askedUntil;
    void flush();
  });

  /** Whether the page shows something else now: what it showed before is the referrer. */
  const moves = (to: string): boolean =>
    address !== (to = addressOf(to)) && ((referrer = address), (address = to), true);
  const analytics = (type: string, at: number, where: string, properties: object): void => {
    moves(where);
    if (!isOptedOut()) add(type, at, { url: address, referrer, properties }, intervalMs);
  };
  /** A copy: `properties` may be anything at all. */
  const plain = (properties: unknown): Record<string, unknown> => {
    const copy = Object.create(null);
    try {
      for (const name of keysOf(properties ?? 0)) {
        try {
          copy[name] = (properties as any)[name];
        } catch {} // a getter that throws
      }
    } catch {} // a proxy that throws
    return copy;
  };
  const view = (at: number, where: string, properties?: Properties): void =>
    analytics("page_view", at, where, plain(properties));

  const listenToSignals = (): void => {
    if (state !== "on") return;
    if (!signals) {
      signals = listen(options.collect ?? ALL);
      const tick = (): void => {
        later(tick, signalsMs);
        takeSamples();
        void transmit();
      };
      later(tick, Math.random() * signalsMs);
    }
    signals.listens = true;
  };

  let lives = false;
  const begin = (): void => {
    if (state !== "on") return;
    session ||= sessionOf(options.session);
    for (const batch of all()) batch.session ||= session;
    listenToSignals();
    if (open) wake(0);
    if (lives) return;
    lives = true;
    if (options.persist !== false) {
      const tend = (): void => {
        claim();
        later(tend, LEASE_MS / 2);
      };
      openStore((opened) => {
        store = opened;
        claim();
        // A page that closes just now writes a moment later; one that crashed keeps its lease to the end.
        later(tend, CLAIM_MS);
      });
    }
  };

  if (state === "opaque_origin") warn("a sandbox needs allow-same-origin");
  begin();
  if (views) {
    onNavigation(() => moves(location.href) && view(now(), location.href));
    view(now(), location.href);
  }

  return {
    key,
    session: () => session,
    counts: () => {
      let pending = 0;
      for (const batch of all()) pending += batch.events.length;
      return { ...counts, pending };
    },
    label([task, answer, kind = "image_label"], at) {
      add(kind, at, { task, answer }, LABEL_MS, true);
    },
    page: ([properties], at, where) => view(at, where, properties),
    track: ([event, properties], at, where) => analytics("usage", at, where, { ...plain(properties), event }),
    flush: () => flush(),
    stop() {
      takeSamples();
      if (signals) signals.listens = false;
      return flush();
    },
    start: listenToSignals,
    grant() {
      if (state === "opaque_origin") return;
      state = "on";
      begin();
    },
    revoke() {
      if (state === "opaque_origin") return;
      if (signals) signals.listens = false;
      takeSamples();
      closeBatch();
      state = "no_consent";
      session = "";
      forget();
      claim();
      try {
        sessionStorage.removeItem(SESSION_ITEM);
      } catch {} // storage is forbidden: there is none
    },
  };
}

/** The site's own, or random and gone with the tab. */
function sessionOf(own: unknown): string {
  if (own) return ("" + own).replace(/[^\w.:-]/g, "_").slice(0, 64);
  const fresh = "s-" + randomHex(16);
  try {
    const found = sessionStorage.getItem(SESSION_ITEM);
    if (!found) sessionStorage.setItem(SESSION_ITEM, fresh);
    return found || fresh;
  } catch {
    return fresh; // storage is forbidden: gone with the page
  }
}
