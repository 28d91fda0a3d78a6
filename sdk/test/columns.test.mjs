// Samples, thinned: what may be left out, and what never.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BETWEEN_MS, PIECES, PLACES, column } from "../build/columns.js";
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

/** Columns as rows: `[t, x, y, …]`. */
const rowsOf = ({ t, ...fields }) => t.map((ms, n) => [ms, ...Object.values(fields).map((values) => values[n])]);
/** The pieces of an event: rows between two of which lies `BETWEEN_MS`, which no movement holds. */
const piecesOf = (taken) => {
  const pieces = [];
  for (const row of taken ? rowsOf(taken) : []) {
    const piece = pieces.at(-1);
    if (!piece || row[0] - piece.at(-1)[0] >= BETWEEN_MS) pieces.push([row]);
    else piece.push(row);
  }
  return pieces;
};

test("columns of one event have equal lengths and count from its ts", () => {
  const samples = column(["x", "y"], 40);
  samples.add(1000.4, [10, 5]);
  samples.add(1041.4, [12, 5]);
  assert.deepEqual(samples.take(), { t: [0, 41], x: [10, 12], y: [5, 5] });
  assert.equal(samples.take(), undefined);
});

test("an event has at most so many pieces of so many places, however busy the hand", () => {
  for (const gap of [8, 40, 99]) {
    const samples = column(["x", "y"], 40, true);
    for (let n = 0; n < 10_000; n += 1) samples.add(n * gap, [n, n % 7]);
    const pieces = piecesOf(samples.take());
    assert.equal(pieces.length, PIECES);
    for (const piece of pieces) assert.ok(piece.length <= PLACES);
  }
});

test("a minute of busy mouse at 120 Hz is under 3 KB", () => {
  const random = seeded(7);
  const samples = column(["x", "y"], 40, true, random);
  let bytes = 0;
  for (let n = 0; n < 3; n += 1) {
    for (let ms = 0; ms < 20_000; ms += 1000 / 120) {
      samples.add(n * 20_000 + ms, [Math.floor(random() * 3840), Math.floor(random() * 2160)]);
    }
    bytes += JSON.stringify(samples.take()).length + 200; // an id, a type, an envelope
  }
  assert.ok(bytes > 1_000 && bytes < 3_000, `${bytes} bytes`);
});

test("where a movement rests is always kept", () => {
  const samples = column(["x", "y"], 40);
  samples.add(0, [0, 0]);
  for (let ms = 5; ms <= 35; ms += 5) samples.add(ms, [ms, ms]);
  samples.add(500, [90, 90]);
  samples.add(510, [91, 91]);
  const pieces = piecesOf(samples.take()).map((piece) => piece.map(([, x]) => x));
  assert.deepEqual(pieces.sort(([one], [other]) => one - other), [[0, 35], [90, 91]]);
});

test("what is cut is of another movement", () => {
  const samples = column(["x", "y"], 40);
  samples.add(0, [0, 700]);
  samples.cut();
  samples.add(50, [0, 5]);
  assert.equal(piecesOf(samples.take()).length, 2);
});

test("any movement: times within a piece are as they were, and no sample is made up", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = seeded(seed);
    const samples = column(["x"], 40, false, random);
    const added = [];
    let at = 0;
    for (let n = 0; n < 100; n += 1) {
      at += random() < 0.2 ? 100 + random() * 300 : random() * 30;
      added.push([at, n]);
      samples.add(at, [n]);
    }
    const pieces = piecesOf(samples.take());
    assert.equal(pieces.length, PIECES);
    for (const piece of pieces) {
      const [began] = piece[0];
      const [from] = added[piece[0][1]];
      for (const [ms, n] of piece) assert.ok(Math.abs(ms - began - (added[n][0] - from)) <= 2, `seed ${seed}`);
    }
  }
});

test("a device that lies still says so once", () => {
  const samples = column(["x", "y", "z"], 100);
  for (let ms = 0; ms < 10_000; ms += 16) samples.add(ms, [0, 0, 9.8]);
  assert.deepEqual(samples.take(), { t: [0], x: [0], y: [0], z: [9.8] });
});

test("keys pair their own way down and up, in the order of going down", () => {
  const keys = strokes();
  keys.press("a", 100);
  keys.press("b", 150);
  keys.lift("b", 180);
  keys.lift("a", 220);
  keys.press("c", 230);
  keys.lift("c", 250);
  assert.deepEqual(keys.take(), { t_down: [0, 50, 130], t_up: [120, 80, 150] });
});

test("a key that was not seen going down, or up, is no stroke", () => {
  const keys = strokes();
  const stroke = (name) => {
    keys.press(name, 50);
    keys.lift(name, 60);
  };
  keys.lift("a", 10);
  keys.press("b", 20);
  keys.forget();
  keys.lift("b", 30);
  keys.press("c", 40);
  stroke("c"); // the way up of the press before went elsewhere
  stroke("d");
  assert.equal(keys.take(), undefined);
  stroke("e");
  assert.deepEqual(keys.take(), { t_down: [0, 0, 0], t_up: [10, 10, 10] });
});
