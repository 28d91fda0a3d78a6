/** Pure: when keys went down and up. Which key it was pairs the two, is forgotten then, and is never given away. */

export interface Strokes {
  press(which: string, at: number): void;
  /** @returns how many strokes there are. */
  release(which: string, at: number): number;
  /** The keys that are down will not be seen going up: the window lost the focus. */
  forget(): void;
  /** What there is, as `{ts, t_down, t_up}`, by the time of going down. */
  take(origin: number): { ts: number; t_down: number[]; t_up: number[] } | undefined;
}

export function strokes(): Strokes {
  const down = new Map<string, number>();
  let pairs: [number, number][] = [];
  return {
    press(which, at) {
      down.set(which, at);
    },
    release(which, at) {
      const since = down.get(which);
      if (since !== undefined) pairs.push([since, at]);
      down.delete(which);
      return pairs.length;
    },
    forget() {
      down.clear();
    },
    take(origin) {
      if (!pairs.length) return undefined;
      pairs.sort((one, other) => one[0] - other[0]);
      const began = pairs[0]![0];
      const side = (which: 0 | 1): number[] => pairs.map((pair) => Math.round(pair[which] - began));
      const taken = { ts: Math.round(origin + began), t_down: side(0), t_up: side(1) };
      pairs = [];
      return taken;
    },
  };
}
