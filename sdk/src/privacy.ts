/**
 * Whether the visitor asked not to be tracked: Global Privacy Control, or Do Not Track. Then no analytics are made.
 * Signals go on: they tell people from machines, which is what the page asks for, and serve nothing else.
 */
export function isOptedOut(): boolean {
  const asked = navigator as { globalPrivacyControl?: boolean; doNotTrack?: string | null };
  return !!asked.globalPrivacyControl || asked.doNotTrack === "1";
}

/** An address without query and fragment, where names, addresses and tokens travel. */
export const withoutQuery = (url: string): string => url.replace(/[?#].*/s, "");

/** The same, with a fragment that is a route: `#/orders/7?token=…` gives `#/orders/7`. */
export const withRoute = (url: string): string => withoutQuery(url) + (/#!?\/[^?&#]*/.exec(url)?.[0] ?? "");
