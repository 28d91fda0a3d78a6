// JSON of whatever a page passes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { json } from "../build/json.js";

test("it says what JSON.stringify says of what JSON knows", () => {
  const values = [null, true, -1.5e-9, 1e21, "", 'q"\\/\n\u2028\u0000', [], {}, [[], [1, [2]]], { a: { b: [null, "c"] }, "": 1 }, new Date(0), new Date(NaN), [undefined, () => 1], { a: undefined, f() {} }, Infinity];
  for (const value of values) assert.deepEqual(JSON.parse(json(value, 999)), JSON.parse(JSON.stringify(value)));
});

test("any text comes back as it was, well-formed", () => {
  let seed = 3;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 3_000; round += 1) {
    const codes = Array.from({ length: 1 + random() * 8 }, () => Math.floor(random() < 0.5 ? 0xd700 + random() * 0x1000 : random() * 0x10000));
    const text = String.fromCharCode(...codes);
    assert.equal(JSON.parse(json(text, 999)), Buffer.from(text).toString());
  }
});

test("circles, digits and throwing members cost only themselves", () => {
  const circle = { fine: 1, get bad() { throw new Error("no"); }, n: 10n };
  circle.self = circle;
  circle.twice = [circle.fine, circle];
  assert.equal(json(circle, 99), '{"fine":1,"n":"10","self":"[circular]","twice":[1,"[circular]"]}');
});

test("a patched prototype is not asked", () => {
  for (const type of [Array, Object]) type.prototype.toJSON = () => "patched";
  try {
    assert.equal(json({ list: [1, { a: [2] }] }, 99), '{"list":[1,{"a":[2]}]}');
  } finally {
    for (const type of [Array, Object]) delete type.prototype.toJSON;
  }
});

test("a class's own toJSON is asked, and a size is kept", () => {
  assert.equal(json({ at: { toJSON: () => ({ x: 1 }) }, url: new URL("https://a.example/") }, 99), '{"at":{"x":1},"url":"https://a.example/"}');
  assert.equal(json(new Array(1_000).fill(1), 999), undefined);
});
