/**
 * Pure: a few key strokes, so that a person's rhythm shows and an answer's length does not.
 *
 * Whatever was typed since the last time, there is at most one event of exactly `STROKES` strokes: a run in the middle of
 * what was typed, chosen at random, each as likely as any other. Its `ts` will be when it was taken, not when it was typed. Which key it
 * was pairs its way down with its way up, is forgotten then, and is never given away.
 */

/** Of every `key` event, exactly. */
export const STROKES = 3;

export interface Strokes {
  press(which: string, at: number): void;
  lift(which: string, at: number): void;
  /** The keys that are down will not be seen going up: the window lost the focus. */
  forget(): void;
  /** What there is, by the time of going down. */
  take(): { t_down: number[]; t_up: number[] } | undefined;
}

export function strokes(random = Math.random): Strokes {
  const down = new Map<string, number>();
  let recent: [number, number][] = [];
  let chosen: [number, number][] | undefined;
  let runs = 0;
  return {
    press(which, at) {
      down.set(which, at);
    },
    lift(which, at) {
      const since = down.get(which);
      down.delete(which);
      if (since === undefined) return;
      recent = [...recent, [since, at] as [number, number]].slice(-STROKES);
      if (recent.length === STROKES && random() * (runs += 1) < 1) chosen = recent;
    },
    forget() {
      down.clear();
    },
    take() {
      if (!chosen) return undefined;
      chosen.sort((one, other) => one[0] - other[0]);
      const began = chosen[0]![0];
      const side = (which: 0 | 1): number[] => chosen!.map((pair) => Math.round(pair[which] - began));
      const taken = { t_down: side(0), t_up: side(1) };
      chosen = undefined;
      recent = [];
      runs = 0;
      return taken;
    },
  };
}
