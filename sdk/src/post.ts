/** One batch on the wire, and what the collector said. */

import { bytesOf } from "./batches.js";

/** Below, gzip saves less than a packet. */
const GZIP_BYTES_MIN = 1_400;
/** Of all requests that may outlive their page together. Source: Fetch, "inflight keepalive bytes", 64 KiB. */
const KEEPALIVE_BYTES_MAX = 60_000;
const ANSWER_MS_MAX = 30_000;

export interface Answer {
  /** 0 where there was none that a collector gave. */
  status: number;
  retryAfter: string | null;
  rejected: { index: number; reason: string }[];
  error: string;
}

/**
 * Posts it. Never throws.
 *
 * @param leaving the page may end any moment: what takes a turn of the event loop would come too late.
 */
export async function post(url: string, key: string, body: string, leaving: boolean): Promise<Answer> {
  const answer: Answer = { status: 0, retryAfter: null, rejected: [], error: "" };
  try {
    const headers: Record<string, string> = { Authorization: "Bearer " + key, "Content-Type": "application/json" };
    let sent: string | ArrayBuffer = body;
    let bytes = bytesOf(body);
    if (!leaving && bytes > GZIP_BYTES_MIN && typeof CompressionStream === "function") {
      sent = await new Response(new Blob([body]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
      bytes = sent.byteLength;
      headers["Content-Encoding"] = "gzip";
    }
    const response = await fetch(url, {
      method: "POST",
      headers,
      body: sent,
      keepalive: bytes <= KEEPALIVE_BYTES_MAX,
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      ...(AbortSignal.timeout && { signal: AbortSignal.timeout(ANSWER_MS_MAX) }),
    });
    answer.retryAfter = response.headers.get("Retry-After");
    const said = await response.json().catch(() => 0);
    answer.error = said.error;
    // A 200 of whatever stands between, as a hotel's sign-in page, is not the collector's word.
    if (!response.ok || Array.isArray((answer.rejected = said.rejected))) answer.status = response.status;
  } catch {
    // No answer: away, offline, or forbidden by the page's policy. Which, a script may not know.
  }
  return answer;
}

/** Hands it to the browser, which sends it after the page is gone. Whether the browser took it. */
export function beacon(url: string, key: string, body: string): boolean {
  return navigator.sendBeacon(
    url + "?key=" + encodeURIComponent(key),
    new Blob([body], { type: "text/plain" }),
  );
}
