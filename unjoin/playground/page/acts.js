/** What a visitor can do beside using the page: answer, invent sessions, send what is refused. */

import { $, COUNT, element, randomHex, say } from "./dom.js";
import { travel } from "./flow.js";
import { outcome } from "./ledger.js";
import { ANSWERS, TASKS, drawTask } from "./tasks.js";

const SESSIONS = 5;
const WRONG = 1 / 6;

/** Posts a batch as any program may; gives status and answer, 0 where there is none. */
async function post(key, session, events) {
  try {
    const response = await fetch("/v1/events", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: "Bearer " + key },
      body: JSON.stringify({ sent_at: Date.now(), session, events }),
    });
    return [response.status, await response.json()];
  } catch {
    return [0, {}];
  }
}

export function offerTasks(label) {
  let index = Math.floor(Math.random() * TASKS.length), answered = 0;
  $("answers").append(
    ...ANSWERS.map((answer) => {
      const button = element("button", { type: "button" }, answer);
      button.addEventListener("click", () => {
        label(TASKS[index].task, answer);
        index = (index + 1) % TASKS.length;
        answered += 1;
        say("thanks", answered > TASKS.length ? "Answered before: however often, it is one vote." : "Thank you. Here is the next one.");
        drawTask(TASKS[index], $("picture"));
      });
      return button;
    }),
  );
  drawTask(TASKS[index], $("picture"));
}

/** Sessions that never were, each answering every task. */
export function offerCrowd(key) {
  const button = $("invent");
  let isBusy = false;
  button.addEventListener("click", async () => {
    if (isBusy) return;
    isBusy = true;
    button.setAttribute("aria-disabled", "true");
    let sessions = 0, labels = 0, failed = "";
    for (let nth = 0; nth < SESSIONS && !failed; nth += 1) {
      const events = TASKS.map(({ task, is }) => {
        const answer = Math.random() < WRONG ? ANSWERS[Math.floor(Math.random() * ANSWERS.length)] : is;
        return { id: crypto.randomUUID(), type: "image_label", ts: Date.now(), task, answer };
      });
      const [status, answer] = await post(key, "pg-invented-" + randomHex(8), events);
      if (status !== 200) failed = answer.error || "no answer";
      else {
        sessions += 1;
        labels += answer.accepted;
        travel(["page", "collector"], answer.accepted, "labeled");
      }
    }
    say("invented", failed ? `The collector took ${sessions} sessions, then: ${failed}. Try again.` : `${SESSIONS} sessions, ${COUNT.format(labels)} labels accepted.`);
    button.removeAttribute("aria-disabled");
    isBusy = false;
  });
}

const BAD = [
  ["A key event that names the key", () => ({ type: "key", t_down: [0], t_up: [80], code: "KeyA" })],
  ["Samples of unequal length", () => ({ type: "pointer", t: [0, 16], x: [1], y: [1, 2] })],
  ["Personal data with a browser’s key", () => ({ type: "contact", account: "acme", role: "integrator", name: "Ada", email: "ada@example.com", country: "GB" })],
  ["A type that there is not", () => ({ type: "mind_reading" })],
];

/** A bad event beside a good one in one batch: the one is rejected, with a reason, and the other unharmed. */
export function offerBad(key, session, isOptedOut) {
  $("bad-kind").append(...BAD.map(([name], index) => element("option", { value: index }, name)));
  $("bad").addEventListener("click", async () => {
    const full = (event) => ({ id: crypto.randomUUID(), ts: Date.now(), ...event });
    const events = [full(BAD[$("bad-kind").value][1]())];
    if (!isOptedOut) events.push(full({ type: "usage", url: location.origin + "/", referrer: "", properties: { event: "sent beside a bad one" } }));
    for (const event of events) outcome({ fate: "queued", event });
    const [status, answer] = await post(key, session, events);
    if (status !== 200) {
      for (const event of events) outcome({ fate: "refused", event, reason: answer.error || "no answer" });
      return say("refused", "The collector did not take the batch. Try again.");
    }
    const reasons = new Map(answer.rejected.map(({ index, reason }) => [index, reason]));
    events.forEach((event, index) => outcome({ fate: reasons.has(index) ? "rejected" : "accepted", event, reason: reasons.get(index) }));
    say("refused", `Rejected: ${reasons.get(0) ?? "nothing"}.` + (events[1] && !reasons.has(1) ? " The good event beside it was accepted." : ""));
  });
}
