import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { init, label, stop, track } from "unjoin";
import { options } from "../start.js";

function App() {
  const [route, setRoute] = useState("/list");
  useEffect(() => {
    init(options()); // twice in StrictMode, with a stop in between
    return () => void stop();
  }, []);
  useEffect(() => {
    if (route !== "/list") history.pushState(null, "", "/built" + route);
  }, [route]);
  return (
    <>
      <button id="next" onClick={() => setRoute("/task")}>next</button>
      <button id="answer" onClick={() => label("dogs-1", "beagle")}>beagle</button>
      <button id="use" onClick={(event) => track("used", { event })}>use</button>
    </>
  );
}

createRoot(document.getElementById("app")).render(<StrictMode><App /></StrictMode>);
