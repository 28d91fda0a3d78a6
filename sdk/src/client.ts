/**
 * One page's way to the collector: gathers, seals batches, sends one at a time, and keeps each until it is settled.
 *
 * A batch is sealed after `interval`, when it is full, or when the page hides. It leaves the queue when the collector has
 * answered for it; until then it goes again under the same ids. When the collector is away, and whenever the page hides,
 * what is not settled is written to IndexedDB as well, so that the next page sends it if this one cannot.
 */

import { isTransient, retryAfterMs, waitMs } from "./backoff.js";
import { EVENT_BYTES_MAX, bodyOf, bytesOf, isFull, overflow, type Batch } from "./batches.js";
import { randomHex, uuid } from "./ids.js";
import { beacon, post } from "./post.js";
import { isOptedOut, withoutQuery } from "./privacy.js";
import { listen, type Signals } from "./signals.js";
import { LEASE_MS, openStore, type Store } from "./store.js";
import type { Counts, Fate, LabelKind, Options, Properties, SentEvent, SignalType } from "./types.js";

const INTERVAL_MS = 5_000;
/** Somebody's answer is worth a request of its own; what was gathered goes along. */
const LABEL_MS = 1_000;
const CLAIM_MS = 3_000;
const SESSION_ITEM = "unjoin-session";
const ALL: readonly SignalType[] = ["pointer", "scroll", "key", "touch", "gyroscope", "accelerometer"];

export interface Client {
  readonly session: string;
  readonly counts: Counts;
  label(task: string, answer: string, kind: LabelKind): void;
  analytics(type: "page_view" | "usage", properties: Properties): void;
  flush(): Promise<void>;
  motion(): Promise<boolean>;
  stop(): Promise<void>;
}

export function client(options: Options, endpoint: string): Client {
  const { key, onOutcome } = options;
  const url = new URL("/v1/events", endpoint).href;
  const to = url + " " + key;
  const session = options.session ?? sessionOfTab();
  const intervalMs = Math.min(30_000, Math.max(200, options.interval ?? INTERVAL_MS));
  const counts: Counts = { queued: 0, waiting: 0, beaconed: 0, accepted: 0, rejected: 0, refused: 0, dropped: 0 };
  const abort = new AbortController();

  let open: string[] = [];
  let openBytes = 0;
  let openHasLabels = false;
  let queue: Batch[] = [];
  /** Ids of batches that were given to the store, and of those that it surely has. */
  const stored = new Set<string>();
  const safe = new Set<string>();
  let store: Store | undefined;
  let flying: Promise<void> | undefined;
  let flyingId = "";
  let claimedSome = false;
  let gone = false;
  let failures = 0;
  let notBefore = 0;
  let askedUntil = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let timerAt = 0;

  const tell = (fate: Fate, events: readonly string[], reason?: string): void => {
    counts[fate] += events.length;
    if (!onOutcome) return;
    for (const event of events) {
      try {
        onOutcome({ fate, event: JSON.parse(event) as SentEvent, reason });
      } catch (error) {
        setTimeout(() => {
          throw error; // the page's own mistake, where the page sees it
        });
      }
    }
  };

  const wake = (ms: number): void => {
    const at = Date.now() + ms;
    if (timer !== undefined && timerAt <= at) return;
    clearTimeout(timer);
    timerAt = at;
    timer = setTimeout(() => void flush(), ms);
  };

  // --- from events to batches -------------------------------------------------------------------------------------

  const add = (type: string, fields: { ts?: number; [field: string]: unknown }, ms: number, isLabel = false): void => {
    const ts = fields.ts ?? Date.now();
    const event = JSON.stringify({ id: uuid(ts), type, ...fields, ts });
    const bytes = bytesOf(event) + 1;
    if (bytes > EVENT_BYTES_MAX) return tell("rejected", [event], "too_large");
    if (isFull(open.length, openBytes, bytes)) closeBatch();
    open.push(event);
    openBytes += bytes;
    openHasLabels ||= isLabel;
    tell("queued", [event]);
    wake(ms);
  };

  const closeBatch = (): void => {
    if (!open.length) return;
    const now = Date.now();
    const batch = { id: uuid(now), to, at: now, until: 0, session, events: open, bytes: openBytes, labels: openHasLabels };
    queue.push(batch);
    open = [];
    openBytes = 0;
    openHasLabels = false;
    const over = overflow(queue);
    for (const batch of over) tell("dropped", batch.events, "queue_full");
    settle(over);
    if (failures && !over.includes(batch)) save(notBefore + LEASE_MS, [batch]);
  };

  const takeSamples = (): void => {
    for (const { type, ...fields } of signals.take()) add(type, fields, intervalMs);
  };

  const signals: Signals = listen(options.collect ?? ALL, (full) => {
    if (full) takeSamples();
    if (timer === undefined) wake(intervalMs); // many a second: no more than this
  });

  // --- from batches to the collector ------------------------------------------------------------------------------

  const settle = (batches: readonly Batch[]): void => {
    queue = queue.filter((batch) => !batches.includes(batch));
    const kept = batches.map((batch) => batch.id).filter((id) => stored.delete(id));
    if (kept.length) store?.remove(kept);
  };

  /** Writes what is not settled; others leave it alone until then. */
  const save = (until: number, batches = queue): void => {
    if (!store || !batches.length) return;
    for (const batch of batches) {
      batch.until = gone ? 0 : until;
      stored.add(batch.id);
    }
    store.put(batches, (ids) => ids.forEach((id) => safe.add(id)));
  };

  /** Takes over what pages that are gone could not deliver. */
  const claim = async (): Promise<void> => {
    const claimed = (await store?.claim(to, Date.now(), Date.now() + LEASE_MS)) ?? [];
    for (const batch of claimed) {
      stored.add(batch.id);
      safe.add(batch.id);
      if (!queue.some((known) => known.id === batch.id)) queue.push(batch);
    }
    claimedSome = !!claimed.length;
    if (claimedSome) wake(0);
  };

  const send = async (leaving: boolean): Promise<void> => {
    for (let batch; !gone && (batch = queue[0]) && Date.now() >= notBefore; ) {
      flyingId = batch.id;
      const answer = await post(url, key, bodyOf(batch, Date.now()), leaving);
      flyingId = "";
      if (isTransient(answer.status)) {
        failures += 1;
        const now = Date.now();
        const askedMs = retryAfterMs(answer.retryAfter, now);
        askedUntil = now + askedMs;
        notBefore = now + waitMs(failures, askedMs, Math.random());
        tell("waiting", batch.events);
        save(notBefore + LEASE_MS);
      } else {
        settle([batch]);
        if (answer.status === 200) {
          const reasons = new Map(answer.rejected.map((rejected) => [rejected.index, rejected.reason]));
          batch.events.forEach((event, index) => {
            const reason = reasons.get(index);
            tell(reason ? "rejected" : "accepted", [event], reason);
          });
        } else tell("refused", batch.events, answer.error || "HTTP " + answer.status);
        if (failures || (claimedSome && !queue.length)) void claim();
        failures = notBefore = askedUntil = 0;
      }
    }
  };

  const flush = async (leaving = false): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    takeSamples();
    closeBatch();
    await (flying ??= send(leaving).finally(() => (flying = undefined)));
    if (queue.length && !gone) wake(Math.max(0, notBefore - Date.now()));
  };

  // --- the page's life --------------------------------------------------------------------------------------------

  const on = (target: EventTarget, name: string, handler: (event: any) => void): void =>
    target.addEventListener(name, handler, { signal: abort.signal });

  on(document, "visibilitychange", () => {
    if (gone) return;
    if (document.visibilityState === "hidden") {
      void flush(true);
      save(Math.max(Date.now(), notBefore) + LEASE_MS);
    } else void claim();
  });
  on(globalThis, "pagehide", () => {
    gone = true;
    takeSamples();
    closeBatch();
    save(0);
    if (store && Date.now() < askedUntil) return;
    const left = queue.filter(
      // What flies may outlive the page by itself, and a browser sends 64 KiB in all.
      (batch) => batch.id !== flyingId && beacon(url, key, bodyOf(batch, Date.now())),
    );
    for (const batch of left) tell("beaconed", batch.events);
    // Nobody will hear the answer: what IndexedDB keeps goes again from the next page, under the same ids.
    if (!store) settle(left);
  });
  on(globalThis, "pageshow", (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    gone = false;
    notBefore = askedUntil;
    // Another page may have them by now; what nobody took comes back.
    queue = queue.filter((batch) => !safe.has(batch.id));
    safe.clear();
    void claim().then(() => flush());
  });
  on(globalThis, "online", () => {
    notBefore = askedUntil;
    void flush();
  });

  if (options.persist !== false)
    void openStore().then((opened) => {
      store = opened;
      if (!opened) return;
      void claim();
      // A page that closes just now writes a moment later; one that crashed keeps its lease to the end.
      setTimeout(claim, CLAIM_MS);
      setInterval(claim, LEASE_MS / 2);
    });

  return {
    session,
    counts,
    label: (task, answer, kind) => add(kind, { task, answer }, LABEL_MS, true),
    analytics(type, properties) {
      if (isOptedOut()) return;
      const fields = { url: withoutQuery(location.href), referrer: withoutQuery(document.referrer), properties };
      add(type, fields, intervalMs);
    },
    flush: () => flush(),
    motion: () => signals.motion(),
    stop() {
      const done = flush();
      signals.stop();
      return done;
    },
  };
}

/** Random, and gone with the tab. */
function sessionOfTab(): string {
  const fresh = "s-" + randomHex(16);
  try {
    const found = sessionStorage.getItem(SESSION_ITEM);
    if (!found) sessionStorage.setItem(SESSION_ITEM, fresh);
    return found || fresh;
  } catch {
    return fresh; // storage is forbidden: gone with the page
  }
}
