/** The table of outcomes: what this page was told, beside everybody's totals. Of labels, everybody's alone. */

import { $, COUNT, element, say } from "./dom.js";
import { own } from "./ledger.js";

const RATE_MS = 5_000;
const cells = new Map();
const past = [];

const NAME = { signals: "signals accepted", analytics: "analytics accepted", labeled: "labels accepted", personal: "personal accepted", labelers: "labelers accepted" };

/** Pure: rows of name, own count, everybody's count; null for what is not this page's to say. */
function outcomes({ edge, door }) {
  const rows = [];
  for (const category of Object.keys(NAME)) {
    const all = edge?.accepted[category] ?? 0;
    if (all || category in own.accepted) rows.push([NAME[category], category === "labeled" ? null : (own.accepted[category] ?? 0), all]);
  }
  const reasons = new Set([...Object.keys(own.rejected), ...Object.keys(edge?.rejected ?? {})]);
  for (const reason of reasons.size ? [...reasons].sort() : []) rows.push([`rejected: ${reason}`, own.rejected[reason] ?? 0, edge?.rejected[reason] ?? 0]);
  for (const [outcome, count] of Object.entries(edge?.requests ?? {})) if (outcome !== "answered") rows.push([`request: ${outcome}`, null, count]);
  if (own.refused) rows.push(["in refused requests", own.refused, null]);
  if (own.dropped) rows.push(["dropped by this page", own.dropped, null]);
  if (!door) return rows;
  rows.push(["labels held at the door", null, door.held_labels], ["labels released", null, door.released]);
  for (const [reason, count] of Object.entries(door.suppressed)) rows.push([`labels suppressed: ${reason}`, null, count]);
  return rows;
}

function showRate(edge) {
  const now = performance.now(), total = Object.values(edge.accepted).reduce((sum, count) => sum + count, 0);
  past.push([now, total]);
  while (past.length > 2 && now - past[1][0] > RATE_MS) past.shift();
  const [[since, before]] = past;
  say("rate", now - since > 900 ? `${COUNT.format(Math.round((1000 * Math.max(0, total - before)) / (now - since)))} accepted a second` : "");
}

/** Updates the table in place, so that a screen reader keeps its place too. */
export function showOutcomes(whole) {
  for (const [name, ours, all] of outcomes(whole)) {
    if (!cells.has(name)) {
      const row = element("tr"), numbers = [element("td"), element("td")];
      row.append(element("th", { scope: "row" }, name), ...numbers);
      $("outcomes").append(row);
      cells.set(name, numbers);
    }
    [ours, all].forEach((count, index) => (cells.get(name)[index].textContent = count === null ? "–" : COUNT.format(count)));
  }
  if (whole.edge) showRate(whole.edge);
}
