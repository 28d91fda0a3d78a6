/** What every part of the page needs of the document. */

export const $ = (id) => document.getElementById(id);

export const COUNT = new Intl.NumberFormat("en");

/** An element, of SVG where `svg` says so. */
export function element(name, attributes = {}, text = "", svg = false) {
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  if (text) node.textContent = text;
  return node;
}

export const shape = (name, attributes) => element(name, attributes, "", true);

/** Sets a text where it is another one; of a number, its box shows for a moment that it changed. */
export function say(id, text) {
  const node = $(id), wanted = typeof text === "number" ? COUNT.format(text) : text;
  if (node.textContent === wanted) return;
  const isNews = typeof text === "number" && node.textContent !== "–" && document.visibilityState === "visible";
  node.textContent = wanted;
  const box = isNews && node.closest(".node");
  if (!box) return;
  box.classList.remove("changed");
  requestAnimationFrame(() => box.classList.add("changed"));
}

export const randomHex = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The category of each type that a browser key may write; a page sends no other. */
export const CATEGORY = {
  pointer: "signals", touch: "signals", scroll: "signals", key: "signals", gyroscope: "signals", accelerometer: "signals",
  page_view: "analytics", usage: "analytics", image_label: "labeled", audio_transcript: "labeled", text_answer: "labeled",
};
