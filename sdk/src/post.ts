/** One batch on the wire, and what the collector said. */

import { bytesOf } from "./batches.js";
import { Zipper, isList, request, takesBeacon, within } from "./globals.js";

/** Below, gzip saves less than a packet, and than the preflight that a `Content-Encoding` costs. */
const GZIP_BYTES_MIN = 1_400;
const GZIP_MS_MAX = 2_000;
/** Of all requests that may outlive their page together. Source: Fetch, "inflight keepalive bytes", 64 KiB. */
export const KEEPALIVE_BYTES_MAX = 64_000;
const ANSWER_MS_MAX = 30_000;

export interface Answer {
  /** 0 where there was none that a collector gave. */
  status: number;
  retryAfter?: string | null;
  rejected: { index: number; reason: string; field?: string }[];
  error?: string;
}

/** Until it failed once on this page: it may be a page's own idea of it. */
let zips = !!Zipper;

async function zipped(body: string, bytes: number): Promise<ArrayBuffer | undefined> {
  try {
    const stream = new Response(body).body!.pipeThrough(new Zipper("gzip"));
    const file = await within(new Response(stream).arrayBuffer(), GZIP_MS_MAX);
    // A whole gzip file ends with the length of what it holds. Source: RFC 1952, 2.3.1.
    if (new Uint32Array(file.slice(-4))[0] === bytes) return file;
  } catch {} // it broke, or never ended
  zips = false;
  return undefined;
}

/** As a browser sends it without asking first: the key, which is public, in the address, and nothing in headers. */
const simple = (body: string | ArrayBuffer): RequestInit => ({
  method: "POST",
  body,
  keepalive: true,
  credentials: "omit",
  referrerPolicy: "no-referrer",
});

/**
 * Posts it. Never throws, and never takes longer than its bounds.
 *
 * @param leaving the page may end any moment: what takes a turn of the event loop, or a preflight, would come too late.
 * @param onSend when the browser gets it; false if it shall not.
 */
export async function post(url: string, body: string, leaving: boolean, onSend: () => boolean): Promise<Answer> {
  const bytes = bytesOf(body);
  const file = !leaving && zips && bytes > GZIP_BYTES_MIN ? await zipped(body, bytes) : undefined;
  const abort = new AbortController();
  const talk = async (): Promise<Answer> => {
    if (!onSend()) throw 0;
    const response = await request(url, {
      ...simple(file ?? body),
      headers: file ? { "Content-Encoding": "gzip", "Content-Type": "text/plain" } : {},
      signal: abort.signal,
    });
    const said = (await response.json().catch(() => 0)) || 0;
    const { status } = response;
    // What the collector could not read may be the compression's fault.
    if (file && (status === 400 || status === 415)) zips = false;
    // A 200 of whatever stands between, as a hotel's sign-in page, is not the collector's word.
    else if (!response.ok || isList(said.rejected)) return { ...said, status, retryAfter: response.headers.get("Retry-After") };
    throw 0;
  };
  try {
    return await within(talk(), ANSWER_MS_MAX, () => abort.abort());
  } catch {
    // No answer: away, offline, or forbidden by the page's policy. Which, a script may not know.
    return { status: 0, rejected: [] };
  }
}

/** Hands it to the browser, which sends it after the page is gone; where no beacon is taken, as a request. */
export function handOver(url: string, body: string): void {
  if (!takesBeacon(url, body)) request(url, simple(body)).catch(() => 0);
}
