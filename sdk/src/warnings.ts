/** What goes wrong for who integrates it, said once in the console, with what to do. */

/** @param what said once a page; the rest is shown along. */
export type Warn = (what: string, ...more: unknown[]) => void;

export function warner(isSilent: unknown): Warn {
  const said = new Set<string>();
  return (what, ...more) => {
    if (isSilent || said.has(what)) return;
    said.add(what);
    console.warn("unjoin:", what, ...more);
  };
}
