// With a bundler: import { init, label } from "unjoin";
import { init, label } from "../dist/index.js";

const fates = document.getElementById("fates");

init({
  key: "YOUR-KEY",
  endpoint: "http://127.0.0.1:8080",
  onOutcome({ fate, event, reason }) {
    const item = document.createElement("li");
    item.textContent = [fate, event.type, event.id, reason].filter(Boolean).join(" ");
    fates.prepend(item);
  },
});

document.getElementById("answer").addEventListener("click", () => label("fruit-0004", "pear"));
