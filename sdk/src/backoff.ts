/** Pure: whether to try again, and when. */

export const WAIT_MS_MIN = 1_000;
export const WAIT_MS_MAX = 60_000;
const RETRY_AFTER_MS_MAX = 86_400_000;

/** Whether the same request may succeed later. 0 stands for no answer at all. */
export const isTransient = (status: number): boolean =>
  !status || status === 408 || status === 429 || status >= 500;

/** Retry-After in milliseconds from now: seconds, or a date. 0 for none. Source: RFC 9110, 10.2.3. */
export function retryAfterMs(header: string | null | undefined, now: number): number {
  const ms = header ? (isNaN(+header) ? Date.parse(header) - now : +header * 1_000) : 0;
  return Math.min(RETRY_AFTER_MS_MAX, Math.max(0, ms || 0));
}

/**
 * Milliseconds until the next try: exponential with full jitter, on top of what the collector asked for, so that clients
 * that failed together do not come back together.
 *
 * @param failures in a row, 1 or more.
 * @param random 0 to 1.
 */
export const waitMs = (failures: number, askedMs: number, random: number): number =>
  askedMs + random * Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** failures);
