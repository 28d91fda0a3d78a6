/** Pure: samples of one kind, thinned as they come and given away as columns. */

/** Of an event, by the wire format. */
export const SAMPLES_MAX = 1024;

/** Two samples this far apart, in milliseconds, have a rest between them: the one before it is kept. */
const REST_MS = 100;

export interface Column {
  /**
   * Takes a sample, or leaves it out.
   *
   * @param at milliseconds on the page's clock, as of `Event.timeStamp`.
   * @param values one a field.
   * @returns whether what there is has to be taken before the next one.
   */
  add(at: number, values: number[]): boolean;
  /**
   * What there is, as `{ts, t, …}` with arrays of equal lengths; the column is empty afterwards.
   *
   * @param origin Unix milliseconds at which the page's clock was 0.
   */
  take(origin: number): ({ ts: number } & Record<string, number[] | number>) | undefined;
}

/**
 * At most one sample every `gapMs`, and always the one before a rest: where a movement ended is what people and machines
 * do differently. A sample that repeats the one before says nothing and is left out.
 */
export function column(names: readonly string[], gapMs: number): Column {
  let rows: number[][] = [];
  let kept: number[] = [-Infinity];
  let passed: number[] | undefined;

  const keep = (row: number[]): void => {
    if (row.some((value, field) => field && value !== kept[field])) rows.push((kept = row));
    passed = undefined;
  };

  return {
    add(at, values) {
      if (passed && at - passed[0]! >= REST_MS) keep(passed);
      const row = [at, ...values];
      if (at - kept[0]! >= gapMs) keep(row);
      else passed = row;
      return rows.length > SAMPLES_MAX - 3; // the next one may bring the one before it
    },
    take(origin) {
      if (passed) keep(passed);
      if (!rows[0]) return undefined;
      const began = rows[0][0]!;
      const taken: { ts: number } & Record<string, number[] | number> = { ts: Math.round(origin + began) };
      ["t", ...names].forEach((name, field) => {
        taken[name] = rows.map((row) => (field ? row[field]! : Math.round(row[0]! - began)));
      });
      rows = [];
      return taken;
    },
  };
}
