/** The visitor's last signal as it was sent: the very columns of the event. */

import { $, say, shape } from "./dom.js";

const WIDTH = 200, HEIGHT = 84, MARGIN = 8;

const scaled = (values, size) => {
  const low = Math.min(...values), span = Math.max(...values) - low;
  return values.map((value) => (span ? MARGIN + ((size - 2 * MARGIN) * (value - low)) / span : size / 2));
};

function strokes({ t_down: downs, t_up: ups }) {
  const span = Math.max(...ups, 1) / (WIDTH - 2 * MARGIN);
  return downs.map((down, index) => {
    const x = MARGIN + down / span, y = 12 + (index % 6) * 11;
    return shape("rect", { x, y, width: Math.max(2, (ups[index] - down) / span), height: 7, rx: 2 });
  });
}

/** @param times of the samples: a second and more between two is a gap, and no line. */
function trail(across, down, times) {
  const xs = scaled(across, WIDTH), ys = scaled(down, HEIGHT);
  const d = xs.map((x, index) => `${times[index] - times[index - 1] < 1_000 ? "L" : "M"}${x.toFixed(1)},${ys[index].toFixed(1)}`).join("");
  return [shape("path", { d }), ...xs.map((cx, index) => shape("circle", { cx, cy: ys[index], r: 1.8 }))];
}

/** Draws it: key strokes as bars in time, hands as ways, everything else over time. */
export function showSignal(event) {
  const times = event.t ?? event.t_up;
  if (!times) return;
  const isHand = event.type === "pointer" || event.type === "touch";
  const marks = event.type === "key" ? strokes(event) : isHand ? trail(event.x, event.y, times) : trail(times, event.type === "scroll" ? event.y : event.x, times);
  $("last-plot").replaceChildren(...marks);
  const seconds = ((times.at(-1) - (event.t ?? event.t_down)[0]) / 1000).toFixed(1);
  say("last-what", `Your last ${event.type} event as it was sent: ${times.length === 1 ? "1 sample" : `${times.length} samples in ${seconds} s`}.`);
}
