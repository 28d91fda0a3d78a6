import { createApp, h, onMounted, onUnmounted, reactive } from "vue";
import { init, label, stop, track } from "unjoin";
import { options } from "../start.js";

createApp({
  setup() {
    const state = reactive({ used: 0, self: null });
    state.self = state; // a proxy that holds itself
    onMounted(() => init(options()));
    onUnmounted(() => stop());
    return () => [
      h("button", { id: "next", onClick: () => history.pushState(null, "", "/built/task") }, "next"),
      h("button", { id: "answer", onClick: () => label("dogs-1", "beagle") }, "beagle"),
      h("button", { id: "use", onClick: () => track("used", state) }, "use"),
    ];
  },
}).mount("#app");
