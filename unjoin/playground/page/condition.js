/** What the page says about the pipeline's health: one word at the top, one sentence where something is away. */

import { $, element } from "./dom.js";

const BACK_MS = 8_000;

/** Pure: from what is known to what is said. `null` is not known yet. */
function condition({ away, refusing, kafka, clickhouse, door }) {
  if (away === "collector") return ["collector", "bad", "collector away", "The collector does not answer. What you do waits on this page and goes again under the same ids."];
  if (away === "full") return ["live view", "warn", "live view full", "Enough pages look at this collector already; close one of them. What you do here is sent all the same."];
  if (kafka === null) return ["", "connecting", "connecting", ""];
  if (!kafka && refusing) return ["Kafka", "bad", "Kafka away", "Kafka is away and the collector cannot keep more. Events wait on this page and go again under the same ids."];
  if (!kafka) return ["Kafka", "warn", "Kafka away", "Kafka is away. The collector accepts all the same: what you send waits in its spool, synced to disk, and goes on by itself."];
  if (refusing) return ["collector", "warn", "collector busy", "The collector does not accept events right now. They wait on this page and go again under the same ids."];
  if (!clickhouse) return ["ClickHouse", "warn", "ClickHouse away", "ClickHouse is away. Accepted events are safe in Kafka and become rows once it is back."];
  if (door === false) return ["processor", "warn", "processor away", "The processor is away. Labels wait in Kafka and come to the door once it is back."];
  return ["", "live", "live", ""];
}

const known = { away: "", refusing: false, kafka: null, clickhouse: null, door: null };
let problem = "", timer = 0;

function notice(text, is) {
  clearTimeout(timer);
  const shown = $("notice").firstChild;
  if ((shown?.textContent ?? "") === text) return;
  $("notice").replaceChildren(...(text ? [element("p", { class: "notice", "data-is": is }, text)] : []));
}

/** Takes in news of any of the parts. */
export function learn(news) {
  Object.assign(known, news);
  const [what, is, word, sentence] = condition(known);
  $("state").dataset.is = is;
  $("state").textContent = word;
  $("node-collector").dataset.is = what === "Kafka" || what === "collector" ? "warn" : "";
  $("node-sink").dataset.is = what === "ClickHouse" ? "warn" : "";
  $("node-door").dataset.is = what === "processor" ? "warn" : "";
  if (what) notice(sentence, is);
  else if (problem && is === "live") {
    notice(`The ${problem} is back; what waited goes on.`.replace("The Kafka", "Kafka").replace("The ClickHouse", "ClickHouse"), "good");
    timer = setTimeout(notice, BACK_MS, "");
  }
  problem = is === "connecting" ? problem : what;
}
