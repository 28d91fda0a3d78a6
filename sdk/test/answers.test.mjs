// What lies beside an answer tells nothing about it: neither strokes nor where a hand went, nor when.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BETWEEN_MS, PIECES, column } from "../build/columns.js";
import { STROKES, strokes } from "../build/strokes.js";

/** Types so many letters from `at` on, every `gap` milliseconds. */
const type = (keys, letters, at = 0, gap = 100) => {
  for (let n = 0; n < letters; n += 1) {
    keys.press("k" + n, at + n * gap);
    keys.lift("k" + n, at + n * gap + 60);
  }
};

const seeded = (seed) => () => (seed = (seed * 16807) % 2147483647) / 2147483647;

test("an answer of any length gives the same number of strokes", () => {
  for (const letters of [3, 4, 10, 50, 150]) {
    const keys = strokes();
    type(keys, letters);
    const taken = keys.take();
    assert.deepEqual([taken.t_down.length, taken.t_up.length], [STROKES, STROKES], `${letters} letters`);
    assert.equal(keys.take(), undefined);
  }
});

test("each run of what was typed is as likely as any other", () => {
  // Gaps that name the place: the n-th is 100 + n.
  const found = new Map();
  const random = seeded(1);
  for (let round = 0; round < 4_000; round += 1) {
    const keys = strokes(random);
    let at = 0;
    for (let n = 0; n < 10; n += 1) {
      keys.press("a", at);
      keys.lift("a", at + 50);
      at += 100 + n;
    }
    const place = keys.take().t_down[1] - 100;
    found.set(place, (found.get(place) ?? 0) + 1);
  }
  assert.equal(found.size, 8);
  for (const count of found.values()) assert.ok(count > 400 && count < 600, `${[...found]}`);
});

test("rhythm is as it was: three strokes in a row, down and up", () => {
  const keys = strokes(() => 0);
  type(keys, 5, 1_000, 130);
  assert.deepEqual(keys.take(), { t_down: [0, 130, 260], t_up: [60, 190, 320] });
});

/** A way of four places from one button to another, from `at` on. */
const reach = (samples, at, [x, y], [toX, toY]) => {
  for (let n = 0; n < 4; n += 1) samples.add(at + n * 50, [x + ((toX - x) * n) / 3, y + ((toY - y) * n) / 3]);
};

test("a hand tells neither where it was nor which way it went, nor how far", () => {
  const random = seeded(7);
  const ways = new Set();
  const lengths = [];
  for (let round = 0; round < 400; round += 1) {
    const samples = column(["x", "y"], 40, true, random);
    reach(samples, 1_000, [220, 610], [820, 610]);
    const { t, x, y } = samples.take();
    assert.equal(t[0] + x[0] + y[0], 0);
    assert.equal(t.length, 4);
    ways.add(Math.floor((Math.atan2(y[3], x[3]) / Math.PI + 1) * 4));
    lengths.push(Math.hypot(x[3], y[3]) / 600);
  }
  assert.ok(ways.size >= 8, `${[...ways]}`);
  assert.ok(Math.min(...lengths) < 0.55 && Math.min(...lengths) > 0.49 && Math.max(...lengths) > 1.8, `${lengths}`);
});

test("a hand's shape and pace are as they were", () => {
  const samples = column(["x", "y"], 40, true, seeded(3));
  reach(samples, 0, [0, 0], [300, 0]);
  samples.add(200, [300, 100]);
  const { t, x, y } = samples.take();
  assert.deepEqual(t, [0, 50, 100, 150, 200]);
  const leg = (n, m) => Math.hypot(x[m] - x[n], y[m] - y[n]);
  for (const n of [1, 2, 3]) assert.ok(Math.abs(leg(n, n + 1) / leg(0, 1) - 1) < 0.05);
  assert.ok(Math.abs(leg(2, 4) / leg(0, 1) - Math.SQRT2) < 0.05);
});

test("the time between two movements, and their order, are not told", () => {
  for (const pause of [100, 900, 15_000]) {
    const firsts = new Set();
    for (let seed = 1; seed <= 40; seed += 1) {
      const samples = column(["x", "y"], 40, true, seeded(seed * 7919));
      reach(samples, 0, [0, 0], [300, 0]);
      for (let n = 0; n < 3; n += 1) samples.add(150 + pause + n * 60, [300 - n * n * 50, 0]);
      const { t } = samples.take();
      firsts.add(t[1]);
      assert.ok(t.some((ms, n) => n && ms - t[n - 1] === BETWEEN_MS), `${t}`);
    }
    assert.deepEqual([...firsts].sort(), [50, 60], `${pause}`);
  }
});

test("each movement is as likely as any other to be told, in any place", () => {
  // A pace that names it: the n-th has a place every 50 + n.
  const found = new Map();
  const random = seeded(11);
  for (let round = 0; round < 4_000; round += 1) {
    const samples = column(["x", "y"], 40, true, random);
    for (let n = 0; n < 10; n += 1) for (const step of [0, 1]) samples.add(n * 500 + step * (50 + n), [n, step]);
    const { t } = samples.take();
    for (let place = 0; place < PIECES; place += 1) {
      const name = `${t[2 * place + 1] - t[2 * place] - 50} ${place}`;
      found.set(name, (found.get(name) ?? 0) + 1);
    }
  }
  assert.equal(found.size, 10 * PIECES);
  for (const [name, count] of found) assert.ok(count > 300 && count < 500, `${name}: ${count}`);
});

test("a hand that did not move tells nothing", () => {
  const samples = column(["x", "y"], 40, true);
  samples.add(1_000, [220, 610]);
  samples.add(5_000, [225, 610]);
  assert.equal(samples.take(), undefined);
});
