// Batches, bounds, ids and waiting.
import assert from "node:assert/strict";
import { test } from "node:test";
import { WAIT_MS_MAX, isTransient, retryAfterMs, waitMs } from "../build/backoff.js";
import { BATCH_BYTES_MAX, BATCH_EVENTS_MAX, bodyOf, bytesOf, isFull, overflow } from "../build/batches.js";
import { uuid } from "../build/ids.js";
import { withoutQuery } from "../build/privacy.js";

const batch = (id, bytes, labels = false) => ({ id, to: "", at: 0, until: 0, session: "s", events: [], bytes, labels });

test("a batch is full by count or by bytes, and always takes its first event", () => {
  assert.equal(isFull(0, 0, BATCH_BYTES_MAX + 1), false);
  assert.equal(isFull(1, BATCH_BYTES_MAX - 10, 11), true);
  assert.equal(isFull(1, BATCH_BYTES_MAX - 10, 10), false);
  assert.equal(isFull(BATCH_EVENTS_MAX, 0, 1), true);
});

test("bytes are those of UTF-8", () => {
  assert.equal(bytesOf("aé漢🙂"), 1 + 2 + 3 + 4);
});

test("of a queue that is too long the oldest goes, and answers go last", () => {
  const queue = [batch("1", 40, true), batch("2", 40), batch("3", 40), batch("4", 40, true)];
  assert.deepEqual(overflow(queue, 160), []);
  assert.deepEqual(overflow(queue, 159).map((one) => one.id), ["2"]);
  assert.deepEqual(overflow(queue, 80).map((one) => one.id), ["2", "3"]);
  assert.deepEqual(overflow(queue, 79).map((one) => one.id), ["2", "3", "1"]);
});

test("what is sent again is the same but for sent_at", () => {
  const events = ['{"id":"a"}', '{"id":"b"}'];
  const [first, second] = [5, 9].map((sentAt) => JSON.parse(bodyOf("s-1", events, sentAt)));
  assert.deepEqual(first, { sent_at: 5, session: "s-1", events: [{ id: "a" }, { id: "b" }] });
  assert.deepEqual({ ...second, sent_at: 5 }, first);
});

test("only what another try can mend is tried again", () => {
  for (const status of [0, 408, 429, 500, 502, 503, 599]) assert.ok(isTransient(status), `${status}`);
  for (const status of [200, 204, 400, 401, 403, 404, 413, 415]) assert.ok(!isTransient(status), `${status}`);
});

test("Retry-After is seconds or a date, and nonsense is none", () => {
  const now = Date.UTC(2026, 8, 1, 12, 0, 0);
  assert.equal(retryAfterMs("7", now), 7_000);
  assert.equal(retryAfterMs("Tue, 01 Sep 2026 12:00:30 GMT", now), 30_000);
  for (const none of [null, "", "soon", "-5", "Tue, 01 Sep 2026 11:00:00 GMT"]) assert.equal(retryAfterMs(none, now), 0);
  assert.equal(retryAfterMs("99999999999", now), 86_400_000);
});

test("waits grow, are capped, spread over all of it, and never undercut what was asked", () => {
  assert.equal(waitMs(1, 0, 1), 2_000);
  assert.equal(waitMs(3, 0, 1), 8_000);
  assert.equal(waitMs(3, 0, 0), 0);
  assert.equal(waitMs(1_000, 0, 1), WAIT_MS_MAX);
  assert.equal(waitMs(2, 30_000, 0), 30_000);
  assert.equal(waitMs(2, 30_000, 0.5), 32_000);
});

test("ids are UUIDs of version 7 that sort by time and fit the contract", () => {
  const ids = [1_790_000_000_123, 1_790_000_000_124].map((now) => uuid(now));
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(ids[0] < ids[1]);
  assert.equal(parseInt(ids[0].replaceAll("-", "").slice(0, 12), 16), 1_790_000_000_123);
  assert.equal(new Set(Array.from({ length: 10_000 }, () => uuid(5))).size, 10_000);
});

test("addresses travel without query and fragment", () => {
  assert.equal(withoutQuery("https://a.example/b?email=x@y.z#token"), "https://a.example/b");
  assert.equal(withoutQuery("https://a.example/b#t?x\ny"), "https://a.example/b");
  assert.equal(withoutQuery(""), "");
});
