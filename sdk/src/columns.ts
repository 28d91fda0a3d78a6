/** Pure: samples of one kind, thinned as they come and given away as columns. */

/** Of an event, by the wire format. */
export const SAMPLES_MAX = 1024;

/** Two samples this far apart, in milliseconds, have a rest between them: the one before it is kept. */
const REST_MS = 100;

/** Around an answer: so long before and after it, and so near to where the hand was, in pixels, nothing is kept. */
export const MOMENT_MS = 1_000;
export const NEAR_PX = 64;

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
   * @param at the time by the page's clock. Of a hand's column what is near to where it is now stays: there may be an
   *   answer there the next moment.
   */
  take(origin: number, at: number): ({ ts: number } & Record<string, number[] | number>) | undefined;
  /** An answer was given: where the hand was then is not kept, nor is what was near. */
  hush(at: number): void;
}

/**
 * At most one sample every `gapMs`, and always the one before a rest: where a movement ended is what people and machines
 * do differently. A sample that repeats the one before says nothing and is left out.
 *
 * @param isHand whether x and y are where a hand is, which answers.
 */
export function column(names: readonly string[], gapMs: number, isHand?: boolean): Column {
  const rows: number[][] = [];
  let kept: number[] = [-Infinity];
  let passed: number[] | undefined;

  const keep = (row: number[]): void => {
    if (row.some((value, field) => field && value !== kept[field])) rows.push((kept = row));
    passed = undefined;
  };

  let answer: number[] | undefined;

  const isNear = (row: number[], place: number[], at: number): boolean =>
    Math.abs(at - row[0]!) < MOMENT_MS || Math.hypot(row[1]! - place[1]!, row[2]! - place[2]!) < NEAR_PX;
  /** How many rows, from the first on, tell nothing about where the hand is now. */
  const far = (at: number): number => {
    let count = rows.length;
    while (isHand && count && isNear(rows[count - 1]!, passed ?? kept, at)) count -= 1;
    return count;
  };

  return {
    add(at, values) {
      if (answer && isNear([at, ...values], answer, answer[0]!)) return false;
      answer = undefined;
      if (passed && at - passed[0]! >= REST_MS) keep(passed);
      const row = [at, ...values];
      if (at - kept[0]! >= gapMs) keep(row);
      else passed = row;
      return rows.length > SAMPLES_MAX - 3; // the next one may bring the one before it
    },
    hush(at) {
      rows.length = far(at);
      answer = [at, ...(passed ?? kept).slice(1)];
      passed = undefined;
    },
    take(origin, at) {
      if (passed) keep(passed);
      const given = rows.splice(0, far(at));
      if (rows.length > SAMPLES_MAX / 2) rows.length = 0; // a hand that trembles for a minute
      if (!given[0]) return undefined;
      const began = given[0][0]!;
      const taken: { ts: number } & Record<string, number[] | number> = { ts: Math.round(origin + began) };
      ["t", ...names].forEach((name, field) => {
        taken[name] = given.map((row) => (field ? row[field]! : Math.round(row[0]! - began)));
      });
      return taken;
    },
  };
}
