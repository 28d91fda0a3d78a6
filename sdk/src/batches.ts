/** Pure: which events make a batch, and which batches have to go when there are too many. */

export const BATCH_EVENTS_MAX = 50;
/** A beacon of over 64 KiB is refused by browsers; a batch is one beacon. Source: Fetch, "inflight keepalive bytes". */
export const BATCH_BYTES_MAX = 48_000;
/** The collector's bound is 32 KiB. */
export const EVENT_BYTES_MAX = 32_000;
export const QUEUE_BYTES_MAX = 1_000_000;

/**
 * Events that travel together, in the order in which they happened.
 *
 * @property id of the first event: batches sort by their age.
 * @property to where it goes and under which key, so that two sites' scripts on one origin do not mix.
 * @property at Unix milliseconds at which it was begun.
 * @property until whose it is: until then, of the page that wrote it; afterwards, of who claims it.
 * @property events each as JSON; what was sent once is sent again byte for byte.
 * @property labels whether somebody's answer is among them.
 */
export interface Batch {
  id: string;
  to: string;
  at: number;
  until: number;
  session: string;
  events: string[];
  bytes: number;
  labels: boolean;
}

const encoder = new TextEncoder();
export const bytesOf = (text: string): number => encoder.encode(text).length;

/** Whether one more event makes a batch too large. */
export const isFull = (events: number, bytes: number, more: number): boolean =>
  events >= BATCH_EVENTS_MAX || (events > 0 && bytes + more > BATCH_BYTES_MAX);

/** The batches that have to go so that the others fit: from the first on, and those with somebody's answers last. */
export function overflow(batches: readonly Batch[], bytesMax = QUEUE_BYTES_MAX): Batch[] {
  let over = -bytesMax;
  for (const batch of batches) over += batch.bytes;
  if (over <= 0) return [];
  return [...batches]
    .sort((one, other) => +one.labels - +other.labels)
    .filter((batch) => over > 0 && ((over -= batch.bytes), true));
}

/** The request's body. `sent_at` is of the moment, everything else is as it was. */
export const bodyOf = (session: string, events: readonly string[], sentAt: number): string =>
  `{"sent_at":${sentAt},"session":"${session}","events":[${events.join()}]}`;
