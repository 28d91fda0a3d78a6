/**
 * Pure: JSON of whatever a page passes. Never throws, and a page's patches of prototypes do not reach it.
 *
 * As `JSON.stringify`, but: what refers to itself is `"[circular]"`, a BigInt its digits, an element `"[object …]"`; half
 * an emoji becomes U+FFFD, as in `String.prototype.toWellFormed`; a member that throws is left out; and a `toJSON` that a
 * page put on the prototype of arrays or of all objects (Prototype.js) is not asked, while one of a date or a class is.
 */

import { isList, keysOf } from "./globals.js";

/** The collector's bound is 32. */
const DEPTH_MAX = 24;

const quoted = (text: unknown): string =>
  '"' +
  ("" + text)
    .replace(/\p{Cs}/gu, "\ufffd")
    .replace(/["\\\x00-\x1f]/g, (found) => "\\u" + (found.charCodeAt(0) + 65536).toString(16).slice(1)) +
  '"';

/** @returns undefined if it has over `membersMax` members. */
export function json(value: unknown, membersMax: number): string | undefined {
  const write = (value: any, above: unknown[]): string | undefined => {
    const type = typeof value;
    if (--membersMax < 0) return undefined;
    if (type === "string" || type === "bigint" || value?.nodeType > 0) return quoted(value);
    if (type === "boolean" || (type === "number" && isFinite(value))) return "" + value;
    if (value === null || type === "number") return "null";
    if (type !== "object") return undefined;
    if (above[DEPTH_MAX] || above.includes(value)) return '"[circular]"';
    const list = isList(value);
    const own = value.toJSON;
    const below = [...above, value];
    if (!list && typeof own === "function" && own !== (Object.prototype as any).toJSON) {
      return write(own.call(value), below);
    }
    const names: any[] = list ? value : keysOf(value);
    let text = "";
    for (let n = 0; n < names.length && membersMax >= 0; n += 1) {
      let member: string | undefined;
      try {
        member = write(value[list ? n : names[n]], below);
      } catch {} // a getter that throws
      if (list) member ??= "null";
      if (member) text += (text && ",") + (list ? "" : quoted(names[n]) + ":") + member;
    }
    return list ? "[" + text + "]" : "{" + text + "}";
  };
  const text = write(value, []);
  return membersMax < 0 ? undefined : text;
}
