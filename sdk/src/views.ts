/** Pages that change their address by themselves. */

import { guarded, listenTo } from "./globals.js";

/** Calls back whenever the address may have changed without a new document. */
export function onNavigation(onChange: () => void): void {
  const changed = guarded(onChange);
  for (const name of ["pushState", "replaceState"] as const) {
    const original = history[name];
    history[name] = function (this: History) {
      const result = original.apply(this, arguments as any);
      changed();
      return result;
    };
  }
  listenTo(window, "popstate", changed); // and at each change of the fragment
}
