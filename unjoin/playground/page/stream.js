/** What the collector tells, as long as somebody looks: server-sent events, opened again whatever ends them. */

const SILENCE_MS_MAX = 25_000;
const AGAIN_MS = 3_000;

/**
 * @param onLook told `{whole, own}`, and whether it is the first since the stream was opened.
 * @param onAway told "collector" where nobody answers, "full" where enough pages look already.
 */
export function follow(session, onLook, onAway) {
  let source, again, silence, isFirst;

  const open = () => {
    close();
    isFirst = true;
    source = new EventSource("/playground/events?session=" + session);
    source.onmessage = (message) => {
      heard();
      onLook(JSON.parse(message.data), isFirst);
      isFirst = false;
    };
    source.addEventListener("still", heard);
    source.onerror = failed;
    heard();
  };
  const close = () => {
    source?.close();
    clearTimeout(again);
    clearTimeout(silence);
  };
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => failed(), SILENCE_MS_MAX);
  };
  const failed = async () => {
    close();
    again = setTimeout(open, AGAIN_MS * (0.5 + Math.random()));
    const alive = await fetch("/healthz", { cache: "no-store" }).then((answer) => answer.ok, () => false);
    if (document.visibilityState === "visible") onAway(alive ? "full" : "collector");
  };

  // A browser has six connections to a host; a page that nobody sees must not hold one.
  document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? open() : close()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}
