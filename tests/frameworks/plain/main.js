import { init, label, track } from "unjoin";
import { onCLS, onLCP } from "web-vitals";
import { options } from "../start.js";

init(options());
const send = ({ name, value }) => track(name, { value }); // as its own documentation says
onCLS(send);
onLCP(send);

const app = document.getElementById("app");
for (const [id, click] of Object.entries({
  next: () => history.pushState(null, "", "/built/task"),
  answer: () => label("dogs-1", "beagle"),
  use: () => track("used", { app }),
})) {
  const button = document.createElement("button");
  button.id = id;
  button.textContent = id;
  button.addEventListener("click", click);
  app.append(button);
}
app.append(Object.assign(document.createElement("p"), { textContent: "the largest text of the page ".repeat(30) }));
