// unjoin's browser SDK, the plain part: batches events, sends them, keeps what was not accepted for durable.
//   <script src="https://collector.example/sdk.js"></script>
//   <script>unjoin.init({ key: "ub_…" }); unjoin.send([{ type: "image_label", task: "dogs-0017", answer: "beagle" }]);</script>
(function () {
  "use strict";
  var EVENTS_MAX = 500, BYTES_MAX = 1000000, BEACON_BYTES_MAX = 60000, WAIT_MS = 1000, HELD_MAX = 5000;
  var source = document.currentScript && document.currentScript.src;
  var settings = null, held = [], timer = null, sending = false, failures = 0;

  function randomId() {
    if (window.crypto && crypto.randomUUID) return crypto.randomUUID();
    var bytes = crypto.getRandomValues(new Uint8Array(16)), text = "";
    for (var i = 0; i < 16; i++) text += (bytes[i] + 256).toString(16).slice(1);
    return text;
  }

  // options: key (required), endpoint (default: where this script came from), session (default: a new one a page)
  function init(options) {
    if (!options || !options.key) throw new Error("unjoin.init needs a key");
    var base = options.endpoint || new URL("/", source || location.href).href;
    settings = {
      key: options.key,
      url: base.replace(/\/+$/, "").replace(/\/v1\/events$/, "") + "/v1/events",
      session: options.session || "s-" + randomId(),
      onReceipt: options.onReceipt || function () {}
    };
    addEventListener("pagehide", flushByBeacon);
    document.addEventListener("visibilitychange", function () {
      if (document.visibilityState === "hidden") flushByBeacon();
    });
    return settings.session;
  }

  // Each event keeps the id it gets here on every resend, so that it is stored once.
  function send(events) {
    if (!settings) throw new Error("call unjoin.init first");
    (Array.isArray(events) ? events : [events]).forEach(function (event) {
      held.push(Object.assign({ id: randomId(), ts: Date.now() }, event));
    });
    if (held.length > HELD_MAX) held.splice(0, held.length - HELD_MAX);
    schedule(held.length >= EVENTS_MAX ? 0 : WAIT_MS);
  }

  function schedule(ms) {
    if (timer === null && !sending) timer = setTimeout(function () { timer = null; flush(); }, ms);
  }

  function take(bytesMax) {
    var events = [], bytes = 200;
    while (events.length < EVENTS_MAX && events.length < held.length) {
      bytes += new Blob([JSON.stringify(held[events.length])]).size + 1;
      if (bytes > bytesMax && events.length) break;
      events.push(held[events.length]);
    }
    return events;
  }

  function bodyOf(events) {
    return JSON.stringify({ sent_at: Date.now(), session: settings.session, events: events });
  }

  function flush() {
    if (sending || !held.length || !settings) return Promise.resolve();
    var events = take(BYTES_MAX);
    sending = true;
    return fetch(settings.url, {
      method: "POST",
      headers: { "Authorization": "Bearer " + settings.key, "Content-Type": "application/json" },
      body: bodyOf(events),
      credentials: "omit"
    }).then(function (response) {
      sending = false;
      var retry = response.status === 408 || response.status === 429 || response.status >= 500;
      if (retry) return again(Number(response.headers.get("Retry-After")) * 1000);
      failures = 0;
      drop(events);
      if (held.length) schedule(0);
      return response.json().then(function (receipt) { settings.onReceipt(receipt, events); });
    }, function () {
      sending = false;
      again(0);
    });
  }

  function again(ms) {
    failures += 1;
    schedule(Math.max(ms || 0, Math.min(60000, 1000 * Math.pow(2, failures)) * (0.5 + Math.random() / 2)));
  }

  function drop(events) {
    held = held.filter(function (event) { return events.indexOf(event) < 0; });
  }

  // A page that goes away cannot wait: a beacon is sent without an answer. What a fetch under way holds goes along
  // a second time under the same ids, so nothing is lost and nothing is stored twice.
  function flushByBeacon() {
    while (settings && held.length) {
      var events = take(BEACON_BYTES_MAX);
      var url = settings.url + "?key=" + encodeURIComponent(settings.key);
      if (!navigator.sendBeacon(url, bodyOf(events))) return;
      drop(events);
    }
  }

  window.unjoin = { init: init, send: send, flush: flush };
})();
