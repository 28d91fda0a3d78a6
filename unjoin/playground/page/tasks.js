/** A small labeling job: four drawings and what they may be. */

import { shape } from "./dom.js";

const LEAF = "#4c8a3f", STEM = "#7a5537";

export const ANSWERS = ["apple", "cherries", "lemon", "pear"];

export const TASKS = [
  { task: "playground-fruit-1", is: "apple", shapes: [["#c8402f", "M50 34c-9-9-30-6-30 18 0 20 16 34 24 34 3 0 4-1 6-1s3 1 6 1c8 0 24-14 24-34 0-24-21-27-30-18z"], [LEAF, "M52 24c2-9 11-13 20-12-1 9-9 14-20 12z"], [STEM, "M48 34c0-8 0-12-4-17l5-2c4 6 4 11 3 19z"]] },
  { task: "playground-fruit-2", is: "pear", shapes: [["#b9b43a", "M50 22c10 0 12 9 14 20 2 10 14 14 14 28 0 12-12 20-28 20S22 82 22 70c0-14 12-18 14-28 2-11 4-20 14-20z"], [STEM, "M48 24c0-7 1-12 6-15l3 4c-4 3-5 6-5 11z"], [LEAF, "M54 18c5-6 14-7 21-3-5 7-14 8-21 3z"]] },
  { task: "playground-fruit-3", is: "cherries", shapes: [["#b3243c", "M33 54a16 16 0 1 0 .1 0zM67 60a16 16 0 1 0 .1 0z"], [STEM, "M34 56c0-18 8-32 24-42l3 4C47 28 39 40 38 56zM64 62c1-18-1-32-8-44l5-2c7 13 9 28 8 46z"], [LEAF, "M60 16c6-8 17-9 26-4-6 9-17 11-26 4z"]] },
  { task: "playground-fruit-4", is: "lemon", shapes: [["#e3c02e", "M12 52c4-2 5-5 8-10 6-12 17-19 31-19 15 0 26 8 31 19 2 5 3 7 7 9-4 3-5 6-7 11-5 12-16 19-31 19s-25-7-31-19c-2-5-4-8-8-10z"], ["#f2da72", "M33 40c5-6 11-9 18-9l1 4c-6 0-11 3-15 8z"]] },
];

/** Draws a task's picture into an SVG of 100 by 100. */
export function drawTask({ shapes }, svg) {
  svg.replaceChildren(...shapes.map(([fill, d]) => shape("path", { fill, d })));
}
