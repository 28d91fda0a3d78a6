// What lies beside an answer tells nothing about it: neither strokes nor where a hand rested.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MOMENT_MS, NEAR_PX, column } from "../build/columns.js";
import { STROKES, strokes } from "../build/strokes.js";

/** Types so many letters from `at` on, every `gap` milliseconds. */
const type = (keys, letters, at = 0, gap = 100) => {
  for (let n = 0; n < letters; n += 1) {
    keys.press("k" + n, at + n * gap);
    keys.release("k" + n, at + n * gap + 60);
  }
};

test("an answer of any length gives the same number of strokes", () => {
  for (const letters of [3, 4, 10, 50, 150]) {
    const keys = strokes();
    type(keys, letters);
    const taken = keys.take(1_000, 20_000);
    assert.deepEqual([taken.t_down.length, taken.t_up.length], [STROKES, STROKES], `${letters} letters`);
    assert.equal(taken.ts, 21_000); // when it was taken, not when it was typed
    assert.equal(keys.take(1_000, 20_000), undefined);
  }
});

test("what follows within the window gives none", () => {
  const keys = strokes();
  type(keys, 10, 0);
  assert.ok(keys.take(0, 1_000));
  type(keys, 100, 1_000);
  assert.equal(keys.take(0, 12_000), undefined);
  type(keys, 10, 21_000);
  assert.ok(keys.take(0, 22_000));
});

test("each run of what was typed is as likely as any other", () => {
  // Gaps that name the place: the n-th is 100 + n.
  const found = new Map();
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 4_000; round += 1) {
    const keys = strokes(random);
    let at = 0;
    for (let n = 0; n < 10; n += 1) {
      keys.press("a", at);
      keys.release("a", at + 50);
      at += 100 + n;
    }
    const place = keys.take(0, at).t_down[1] - 100;
    found.set(place, (found.get(place) ?? 0) + 1);
  }
  assert.equal(found.size, 8);
  for (const count of found.values()) assert.ok(count > 400 && count < 600, `${[...found]}`);
});

test("rhythm is as it was: three strokes in a row, down and up", () => {
  const keys = strokes(() => 0);
  type(keys, 5, 1_000, 130);
  assert.deepEqual(keys.take(0, 9_000), { ts: 9_000, t_down: [0, 130, 260], t_up: [60, 190, 320] });
});

const hand = () => column(["x", "y"], 40, true);
const move = (samples, at, ...places) => places.forEach(([x, y], n) => samples.add(at + n * 50, [x, y]));

test("where the hand is now is not told before it has moved on", () => {
  const samples = hand();
  move(samples, 0, [0, 0], [100, 100], [200, 200], [300, 300], [305, 302]);
  assert.deepEqual(samples.take(0, 10_000).x, [0, 100, 200]);
  assert.equal(samples.take(0, 20_000), undefined);
  move(samples, 20_000, [500, 500]);
  assert.deepEqual(samples.take(0, 30_000).x, [300, 305]);
});

test("where an answer was given is never told, nor what was near or a moment before and after", () => {
  const samples = hand();
  move(samples, 0, [0, 0], [100, 100]);
  move(samples, 5_000, [200, 200], [300, 300], [305, 302]);
  samples.hush(5_000 + MOMENT_MS - 1);
  move(samples, 5_000 + MOMENT_MS, [600, 600], [310, 310]);
  move(samples, 5_000 + 2 * MOMENT_MS, [305 + NEAR_PX - 1, 302], [900, 900], [1, 1]);
  const { x } = samples.take(0, 60_000);
  assert.deepEqual(x, [0, 100, 900]);
});

test("any walk: no sample that is told lies near an answer in time or, in one rest, in place", () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 200; round += 1) {
    const samples = hand();
    const told = [];
    let at = 0;
    let place = [0, 0];
    const answers = [];
    for (let n = 0; n < 200; n += 1) {
      at += random() < 0.1 ? 2_000 : 40;
      if (random() < 0.5) place = [Math.floor(random() * 1_000), Math.floor(random() * 1_000)];
      samples.add(at, place);
      if (random() < 0.05) {
        samples.hush(at);
        answers.push(at);
      }
      if (random() < 0.2) {
        const taken = samples.take(0, at);
        if (taken) told.push(...taken.t.map((t) => t + taken.ts));
      }
    }
    for (const t of told) {
      for (const answer of answers) assert.ok(Math.abs(t - answer) >= MOMENT_MS - 1, `round ${round}: ${t} ${answer}`);
    }
  }
});

test("a hand that trembles in one place for long takes no memory without bound", () => {
  const samples = hand();
  for (let n = 0; n < 100_000; n += 1) {
    if (samples.add(n * 50, [n % 2, 0])) samples.take(0, n * 50);
  }
  assert.equal(samples.take(0, 1e9), undefined);
});
