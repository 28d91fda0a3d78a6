// Samples, thinned: what may be left out, and what never.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SAMPLES_MAX, column } from "../build/columns.js";
import { strokes } from "../build/strokes.js";

/** Numbers that repeat, 0 to 1, from a seed. Source: mulberry32. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

test("columns of one event have equal lengths and count from its ts", () => {
  const samples = column(["x", "y"], 40);
  samples.add(1000.4, [10, 5]);
  samples.add(1041.4, [12, 5]);
  assert.deepEqual(samples.take(1_790_000_000_000, 0), { ts: 1_790_000_001_000, t: [0, 41], x: [10, 12], y: [5, 5] });
  assert.equal(samples.take(0, 0), undefined);
});

test("a minute of busy mouse at 120 Hz is under 25 samples a second and under 30 KB", () => {
  const random = seeded(7);
  const samples = column(["x", "y"], 40);
  let bytes = 0;
  let count = 0;
  for (let ms = 0; ms < 60_000; ms += 1000 / 120) {
    samples.add(ms, [Math.floor(random() * 3840), Math.floor(random() * 2160)]);
    if (ms % 5_000 < 8) {
      const taken = samples.take(1_790_000_000_000, 0);
      count += taken?.t.length ?? 0;
      bytes += taken ? JSON.stringify(taken).length + 200 : 0; // an id, a type, an envelope
    }
  }
  assert.ok(count <= 60 * 25 + 13, `${count} samples`);
  assert.ok(bytes < 30_000, `${bytes} bytes`);
});

test("where a movement rests is always kept", () => {
  const samples = column(["x", "y"], 40);
  samples.add(0, [0, 0]);
  for (let ms = 5; ms <= 35; ms += 5) samples.add(ms, [ms, ms]);
  samples.add(500, [90, 90]);
  samples.add(510, [91, 91]);
  const taken = samples.take(0, 0);
  assert.deepEqual(taken.x, [0, 35, 90, 91]);
  assert.deepEqual(taken.t, [0, 35, 500, 510]);
});

test("any movement: times ascend, rests are there, and no sample is made up", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = seeded(seed);
    const samples = column(["x"], 40);
    const added = [];
    let at = 0;
    for (let n = 0; n < 100; n += 1) {
      at += random() < 0.2 ? 100 + random() * 300 : random() * 30;
      added.push([at, Math.floor(random() * 50)]);
      samples.add(...[added.at(-1)[0], [added.at(-1)[1]]]);
    }
    const { ts, t, x } = samples.take(0, 0);
    assert.equal(x.at(-1), added.at(-1)[1], `seed ${seed}`);
    const there = new Set(added.map(([ms, value]) => `${Math.round(ms - added[0][0])} ${value}`));
    t.forEach((ms, n) => {
      assert.ok(n === 0 || ms >= t[n - 1], `seed ${seed}`);
      assert.ok([-1, 0, 1].some((off) => there.has(`${ms + ts - Math.round(added[0][0]) + off} ${x[n]}`)), `seed ${seed}`);
    });
    added.forEach(([ms, value], n) => {
      const next = added[n + 1]?.[0] ?? Infinity;
      if (next - ms >= 100) assert.ok(x.includes(value), `seed ${seed}: rest at ${ms}`);
    });
  }
});

test("a device that lies still says so once", () => {
  const samples = column(["x", "y", "z"], 100);
  for (let ms = 0; ms < 10_000; ms += 16) samples.add(ms, [0, 0, 9.8]);
  assert.deepEqual(samples.take(0, 0), { ts: 0, t: [0], x: [0], y: [0], z: [9.8] });
});

test("an event never has more samples than the collector takes", () => {
  for (const step of [40, 60, 99, 100, 101]) {
    const samples = column(["x"], 40);
    for (let n = 0, at = 0; !samples.add(at, [n]); n += 1) at += n % 2 ? step : 1;
    const { t } = samples.take(0, 0);
    assert.ok(t.length <= SAMPLES_MAX && t.length > SAMPLES_MAX - 3, `${t.length}`);
  }
});

test("keys pair their own way down and up, in the order of going down", () => {
  const keys = strokes();
  keys.press("a", 100);
  keys.press("b", 150);
  keys.release("b", 180);
  keys.release("a", 220);
  keys.press("c", 230);
  keys.release("c", 250);
  assert.deepEqual(keys.take(1000, 300), { ts: 1300, t_down: [0, 50, 130], t_up: [120, 80, 150] });
});

test("a key that was not seen going down, or up, is no stroke", () => {
  const keys = strokes();
  assert.equal(keys.release("a", 10), false);
  keys.press("b", 20);
  keys.forget();
  assert.equal(keys.release("b", 30), false);
  keys.press("c", 40);
  keys.press("c", 90); // its way up went elsewhere
  assert.equal(keys.release("c", 99), true);
  assert.equal(keys.take(0, 99), undefined);
});
