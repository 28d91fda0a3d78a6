/**
 * Pure: a few key strokes, so that a person's rhythm shows and an answer's length does not.
 *
 * Whatever is typed, at most one event of exactly `STROKES` strokes comes in `WINDOW_MS`: a run in the middle of what was
 * typed, chosen at random, each as likely as any other. Its `ts` is when it was taken, not when it was typed. Which key it
 * was pairs its way down with its way up, is forgotten then, and is never given away.
 */

/** Of every `key` event, exactly. */
export const STROKES = 3;
const WINDOW_MS = 20_000;

export interface Strokes {
  press(which: string, at: number): void;
  /** @returns whether that was a stroke to be taken some time. */
  release(which: string, at: number): boolean;
  /** The keys that are down will not be seen going up: the window lost the focus. */
  forget(): void;
  /** What there is, as `{ts, t_down, t_up}`, by the time of going down. */
  take(origin: number, at: number): { ts: number; t_down: number[]; t_up: number[] } | undefined;
}

export function strokes(random = Math.random): Strokes {
  const down = new Map<string, number>();
  let recent: [number, number][] = [];
  let chosen: [number, number][] | undefined;
  let runs = 0;
  let quietUntil = 0;
  return {
    press(which, at) {
      down.set(which, at);
    },
    release(which, at) {
      const since = down.get(which);
      down.delete(which);
      if (since === undefined || at < quietUntil) return false;
      recent = [...recent, [since, at] as [number, number]].slice(-STROKES);
      if (recent.length === STROKES && random() * (runs += 1) < 1) chosen = recent;
      return true;
    },
    forget() {
      down.clear();
    },
    take(origin, at) {
      if (!chosen) return undefined;
      chosen.sort((one, other) => one[0] - other[0]);
      const began = chosen[0]![0];
      const side = (which: 0 | 1): number[] => chosen!.map((pair) => Math.round(pair[which] - began));
      const taken = { ts: Math.round(origin + at), t_down: side(0), t_up: side(1) };
      chosen = undefined;
      recent = [];
      runs = 0;
      quietUntil = at + WINDOW_MS;
      return taken;
    },
  };
}
