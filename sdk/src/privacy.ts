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
