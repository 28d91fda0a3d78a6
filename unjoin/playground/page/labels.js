/** Everybody's labels: the crowd at the door, what it let go, and what enough people agree on. Totals alone. */

import { $, COUNT, element, say, shape } from "./dom.js";
import { travel } from "./flow.js";
import { TASKS, drawTask } from "./tasks.js";

const SEATS_MAX = 40;
const LEAVING_MS = 800;

let before = null;

function showSeats(held, of) {
  const seats = $("seats");
  if (of < 2 || of > SEATS_MAX) return seats.replaceChildren();
  if (seats.children.length !== of) seats.replaceChildren(...Array.from({ length: of }, () => element("i")));
  [...seats.children].forEach((seat, index) => seat.classList.toggle("taken", index < held));
}

function showDoor(door) {
  $("node-door").classList.toggle("stale", !door);
  if (!door) return say("held", "held: –");
  const { held_voters: held, held_labels: labels, crowd_target: of, released } = door;
  showSeats(held, of);
  say("held", of > 1 ? `held: ${COUNT.format(held)} of ${of} sessions` : "each label leaves at once: crowds are off");
  say("released", `labels: ${COUNT.format(labels)} held, ${COUNT.format(released)} released; counted once a minute`);
}

function showConsensus(votes) {
  $("consensus").replaceChildren(
    ...TASKS.map((task) => {
      const said = votes.filter((vote) => vote.task === task.task);
      const item = element("li"), picture = shape("svg", { viewBox: "0 0 100 100", role: "img", "aria-label": "A drawing of a fruit" });
      drawTask(task, picture);
      const [most] = said, bar = element("div", { class: "bar", "aria-hidden": "true" }), filled = element("i");
      filled.style.width = most ? `${(100 * most.votes) / most.total}%` : "0";
      bar.append(filled);
      const text = said.map(({ answer, votes, total }) => `${answer} ${Math.round((100 * votes) / total)} %`).join(", ");
      item.append(picture, element("span", {}, most ? `${text} of ${COUNT.format(most.total)} votes` : "No crowd that answered this has left yet."), bar);
      return item;
    }),
  );
}

/** What is new in `whole`; dots for what moved since the last time. */
export function showLabels({ kafka, edge, door, labels }, isFirst) {
  const now = { accepted: edge?.accepted.labeled ?? 0, released: door?.released, rows: labels?.rows };
  if (edge) say("t-labeled", now.accepted);
  showDoor(door);
  if (labels) {
    say("n-labels", labels.rows);
    const said = JSON.stringify(labels.votes);
    if (before?.said !== said) showConsensus(labels.votes);
    now.said = said;
  }
  if (before && !isFirst) {
    if (kafka) travel(["collector", "t-labeled", "door"], now.accepted - before.accepted, "labeled");
    if (now.released > before.released) {
      travel(["door", "sink"], now.released - before.released, "labeled");
      $("seats").classList.add("leaving");
      setTimeout(() => $("seats").classList.remove("leaving"), LEAVING_MS);
      say("thanks", `A crowd has left the door: ${COUNT.format(now.released - before.released)} labels, and nobody’s name.`);
    }
    travel(["sink", "r-labels"], now.rows - before.rows, "labeled");
  }
  before = { ...before, ...Object.fromEntries(Object.entries(now).filter(([, value]) => value !== undefined)) };
}

showSeats(0, 20);
showConsensus([]);
