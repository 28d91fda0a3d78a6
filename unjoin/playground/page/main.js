/** The page: the SDK gathers and sends, the collector tells what became of it, and each part shows its own. */

import { offerBad, offerCrowd, offerTasks } from "./acts.js";
import { learn } from "./condition.js";
import { $, CATEGORY, element, randomHex, say } from "./dom.js";
import { showLabels } from "./labels.js";
import { showSignal } from "./last_signal.js";
import { outcome, showStored, showTopics } from "./ledger.js";
import { showOutcomes } from "./outcomes.js";
import { follow } from "./stream.js";

const KEY = "dev-browser-key"; // of `unjoin up` alone; a browser's key is public anyway
const INTERVAL_MS = 1_000;

const session = "pg-" + randomHex(8);
say("session", session);

let whole = { kafka: null, edge: null, door: null, labels: null };
let seenDoor = false;

function told(news) {
  outcome(news);
  if (news.fate === "queued" && CATEGORY[news.event.type] === "signals") showSignal(news.event);
  if (news.fate === "waiting") learn({ refusing: true });
  if (news.fate === "accepted" || news.fate === "rejected") learn({ refusing: false });
  showOutcomes(whole);
}

function looked(look, isFirst) {
  whole = look.whole;
  learn({
    away: "", kafka: whole.kafka, clickhouse: whole.labels !== null, door: whole.door ? true : seenDoor ? false : null,
  });
  seenDoor ||= whole.door !== null;
  const spooled = whole.edge?.spooled ?? 0;
  say("durable", spooled ? `durable in its spool: ${spooled} wait` : "each checked, then durable");
  showTopics(whole.kafka, spooled);
  showStored(look.own, isFirst);
  showLabels(whole, isFirst);
  showOutcomes(whole);
}

if (globalThis.unjoin) {
  const { unjoin } = globalThis;
  unjoin.init({ key: KEY, session, interval: INTERVAL_MS, persist: false, onOutcome: told });
  const isOptedOut = !!navigator.globalPrivacyControl || navigator.doNotTrack === "1";
  $("opted-out").hidden = !isOptedOut;
  offerTasks((task, answer) => unjoin.label(task, answer));
  offerCrowd(KEY);
  offerBad(KEY, session, isOptedOut);
  $("page-view").addEventListener("click", () => unjoin.page({ from: "playground" }));
  $("usage").addEventListener("click", () => unjoin.track("button"));
  showOutcomes(whole);
  follow(session, looked, (away) => learn({ away }));
} else {
  $("notice").append(element("p", { class: "notice" }, "The browser SDK did not load, so nothing can be sent. Reload the page."));
  say("state", "not loaded");
}
