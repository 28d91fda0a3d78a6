/** The visitor's own events: left what was sent, right what is stored, and how long it took in between. */

import { $, CATEGORY, COUNT, element, say, shape } from "./dom.js";
import { travel } from "./flow.js";

const ROWS_MAX = 100;
const FRESH_MAX = 40;

/** Counts of this page: `made` = `under way` + accepted + rejected + refused + dropped. */
export const own = { made: 0, accepted: { signals: 0, analytics: 0, labeled: 0 }, rejected: {}, refused: 0, dropped: 0 };
const rows = new Map();
const fresh = [];
let stored = { signals: 0, analytics: 0, latest: [] }, seenSince = Infinity;

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

function newRow(event) {
  const samples = event.t ?? event.t_down;
  const type = element("span", { class: `type ${CATEGORY[event.type] ?? ""}` }, event.type);
  if (samples) type.append(element("span", { class: "of" }, ` × ${samples.length}`));
  const item = element("li"), became = element("span", { class: "became" });
  item.append(type, element("span", { class: "id", title: event.id }, event.id), became);
  return [item, became];
}

function add(event) {
  const [item, became] = newRow(event);
  own.made += 1;
  rows.set(event.id, { item, became, category: CATEGORY[event.type], acceptedAt: 0 });
  $("sent").prepend(item);
  if (rows.size > ROWS_MAX) {
    const [eldest, { item: last }] = rows.entries().next().value;
    rows.delete(eldest);
    last.remove();
  }
}

function mark(id, is, text = is) {
  const row = rows.get(id);
  if (row) [row.became.dataset.is, row.became.textContent] = [is, text];
}

let isKafkaThere = true;
/** Counts of topics are of what was accepted: while Kafka is away, and until the spool is empty, not all of it is there. */
export function showTopics(kafka, spooled) {
  isKafkaThere = kafka;
  for (const [name, whose] of [["signals", "yours"], ["analytics", "yours"], ["labeled", "everybody’s"]]) {
    const node = $("node-t-" + name);
    node.classList.toggle("stale", !kafka || spooled > 0);
    node.querySelector(".of").textContent = !kafka || spooled ? `${whose}, with the spool’s` : whose;
  }
}

let arriving = {};
/** One after the other they would start; those of one answer start together, in a row. */
function arrive(stop, kind) {
  if (!sum(arriving)) queueMicrotask(() => {
    for (const [way, count] of Object.entries(arriving)) travel(["page", "collector", ...way.split(" ").slice(1)].filter(Boolean), count, way.split(" ")[0]);
    arriving = {};
  });
  const way = `${kind} ${stop}`;
  arriving[way] = (arriving[way] ?? 0) + 1;
}

/** Takes in what became of an event, as the SDK tells it. */
export function outcome({ fate, event, reason }) {
  const category = CATEGORY[event.type], { id } = event;
  if (fate === "queued") {
    add(event);
    mark(id, "queued");
  } else if (fate === "accepted") {
    own.accepted[category] += 1;
    if (rows.has(id)) rows.get(id).acceptedAt = performance.now();
    mark(id, "accepted");
    showArrived(); // its row may have been told of before
    // Labels: onwards by everybody's count. What is in the spool goes no further yet.
    arrive(category === "labeled" || !isKafkaThere ? "" : `t-${category}`, category);
  } else if (fate === "rejected") {
    own.rejected[reason] = (own.rejected[reason] ?? 0) + 1;
    mark(id, "rejected", `rejected: ${reason}`);
    arrive("rejected", "bad");
  } else if (fate === "refused" || fate === "dropped") {
    own[fate] += 1;
    mark(id, fate, fate === "refused" ? `refused: ${reason}` : "dropped");
  } else mark(id, fate);
  showSent();
}

function showSent() {
  const accepted = sum(own.accepted), rejected = sum(own.rejected);
  const underWay = own.made - accepted - rejected - own.refused - own.dropped;
  say("made", own.made);
  say("accepted", accepted);
  say("rejected", rejected);
  say("under-way", underWay ? `${COUNT.format(underWay)} on the way` : "all answered");
  say("t-signals", own.accepted.signals);
  say("t-analytics", own.accepted.analytics);
  say("sent-sum", `${COUNT.format(accepted)} of ${COUNT.format(own.made)} accepted` + (rejected ? `, ${COUNT.format(rejected)} rejected` : ""));
  $("sent").hidden = false;
  $("sent-empty").hidden = true;
  showBars();
}

function showBars() {
  for (const category of ["signals", "analytics"]) {
    const of = own.accepted[category];
    $("bar-" + category).style.width = of ? `${Math.min(100, (100 * stored[category]) / of)}%` : "0";
  }
  const accepted = own.accepted.signals + own.accepted.analytics;
  if (accepted) say("stored-sum", `${COUNT.format(stored.signals + stored.analytics)} rows of ${COUNT.format(accepted)} accepted, without labels`);
}

function showFresh() {
  const sorted = [...fresh].sort((one, other) => one - other), seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  say("fresh", seconds(sorted[sorted.length >> 1]));
  say("slowest", `median; slowest of ${fresh.length}: ${seconds(sorted.at(-1))}`);
  const width = 120 / FRESH_MAX, longest = sorted.at(-1) || 1;
  $("fresh-plot").replaceChildren(
    ...fresh.map((ms, index) => {
      const height = Math.max(2, (34 * ms) / longest);
      return shape("rect", { x: index * width, y: 34 - height, width: width * 0.7, height });
    }),
  );
}

/** Marks those of whom it was told that they are stored. */
function showArrived() {
  const now = performance.now();
  const there = new Set(stored.latest.map((row) => row.event_id));
  let news = false;
  for (const [id, row] of rows) {
    // The latest rows are a few; where the count says that all are there, so are the earlier ones.
    const isThere = there.has(id) || stored[row.category] >= own.accepted[row.category];
    if (!row.acceptedAt || row.category === "labeled" || row.became.dataset.is === "stored" || !isThere) continue;
    mark(id, "stored");
    if (row.acceptedAt < seenSince) continue; // nobody looked meanwhile
    news = fresh.push(now - row.acceptedAt) > 0;
    if (fresh.length > FRESH_MAX) fresh.shift();
  }
  if (news) showFresh();
}

/** Takes in what is stored of this session; null while ClickHouse is away. */
export function showStored(latest, isFirst) {
  if (isFirst) seenSince = performance.now();
  for (const name of ["r-signals", "r-analytics", "r-labels"]) $("node-" + name).classList.toggle("stale", !latest);
  if (!latest) return;
  for (const category of ["signals", "analytics"]) {
    if (!isFirst) travel([`t-${category}`, "sink", `r-${category}`], latest[category] - stored[category], category);
    say("n-" + category, latest[category]);
  }
  stored = latest;
  showArrived();
  $("stored").replaceChildren(...latest.latest.map((row) => newRow({ id: row.event_id, type: row.type })[0]));
  $("stored").hidden = !latest.latest.length;
  $("stored-empty").hidden = latest.latest.length > 0;
  showBars();
}
