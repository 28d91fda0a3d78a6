/** The picture of the pipeline: lines between the boxes, and dots that travel along them. */

import { $, shape } from "./dom.js";

const LEGS = [
  "page collector", "collector rejected", "collector t-signals", "collector t-analytics", "collector t-labeled",
  "t-signals sink", "t-analytics sink", "t-labeled door", "door sink", "sink r-signals", "sink r-analytics", "sink r-labels",
];
const DOTS_MAX = 40;
const STAGGER_MS = 70;
const PIXELS_PER_MS = 0.32;
const LIT_MS = 1_500;

const stacked = matchMedia("(max-width: 860px)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const paths = new Map();
const dots = new Set();

const clamp = (value, low, high) => Math.max(low, Math.min(value, high));

/** From the side of one box to the side of the next: straight where they face each other, else an S. */
function line(from, to) {
  const across = stacked.matches ? to.top < from.bottom : to.left >= from.right;
  const [near, far, low, high] = across ? ["right", "left", "top", "bottom"] : ["bottom", "top", "left", "right"];
  const middle = (box) => (box[low] + box[high]) / 2;
  const isWide = (box, other) => box[high] - box[low] >= other[high] - other[low];
  const meet = isWide(from, to) ? middle(to) : middle(from);
  const a = [from[near], clamp(meet, from[low] + 14, from[high] - 14)];
  const b = [to[far], clamp(meet, to[low] + 14, to[high] - 14)];
  const half = (a[0] + b[0]) / 2;
  const points = [a, [half, a[1]], [half, b[1]], b].map(([along, over]) => (across ? `${along} ${over}` : `${over} ${along}`));
  return `M${points[0]}C${points[1]} ${points[2]} ${points[3]}`;
}

function draw() {
  const origin = $("map").getBoundingClientRect();
  const box = (name) => {
    const at = $("node-" + name).getBoundingClientRect();
    return { left: at.left - origin.left, right: at.right - origin.left, top: at.top - origin.top, bottom: at.bottom - origin.top };
  };
  for (const leg of LEGS) {
    const [from, to] = leg.split(" ");
    if (!paths.has(leg)) {
      paths.set(leg, shape("path", {}));
      $("lines").prepend(paths.get(leg));
    }
    paths.get(leg).setAttribute("d", line(box(from), box(to)));
  }
}

/** Lights the lines for a moment, for who wants nothing to move. */
function light(legs) {
  for (const leg of legs) {
    const path = paths.get(leg);
    path.classList.add("on");
    clearTimeout(path.timer);
    path.timer = setTimeout(() => path.classList.remove("on"), LIT_MS);
  }
}

let ticking = false;
function tick(now) {
  for (const dot of dots) {
    if (now < dot.from) continue;
    const path = paths.get(dot.legs[0]);
    const gone = (now - dot.from) * PIXELS_PER_MS, length = path.getTotalLength();
    if (gone < length) {
      const { x, y } = path.getPointAtLength(gone);
      dot.circle.setAttribute("cx", x);
      dot.circle.setAttribute("cy", y);
      dot.circle.removeAttribute("visibility");
      continue;
    }
    dot.legs.shift();
    dot.from += length / PIXELS_PER_MS;
    if (dot.legs.length) continue;
    dot.circle.remove();
    dots.delete(dot);
  }
  ticking = dots.size > 0;
  if (ticking) requestAnimationFrame(tick);
}

/**
 * Lets events travel.
 *
 * @param stops names of boxes, each joined to the next by a line.
 * @param count how many; past `DOTS_MAX` at once they are left out.
 * @param kind signals, analytics, labeled or bad.
 */
export function travel(stops, count, kind) {
  const legs = stops.slice(1).map((stop, index) => `${stops[index]} ${stop}`);
  if (count <= 0 || document.visibilityState !== "visible") return;
  light(legs);
  if (still.matches) return;
  for (let nth = 0; nth < count && dots.size < DOTS_MAX; nth += 1) {
    const circle = shape("circle", { r: kind === "bad" ? 5 : 4.5, class: `dot ${kind}`, visibility: "hidden" });
    $("lines").append(circle);
    dots.add({ circle, legs: [...legs], from: performance.now() + nth * STAGGER_MS });
  }
  if (!ticking) requestAnimationFrame(tick);
  ticking = true;
}

new ResizeObserver(draw).observe($("map"));
document.fonts.ready.then(draw);
draw();
