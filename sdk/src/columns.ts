/**
 * Pure: samples of one kind, thinned as they come, and given away as pieces that tell how something moved, and neither
 * where nor when.
 *
 * A movement goes on until a rest; a piece is at most `PLACES` places of one. Of however many pieces there were since the
 * last time, an event has at most `PIECES`, drawn at random and in random order, `BETWEEN_MS` apart; its `ts` will be when
 * it was taken. Pieces of a hand begin at 0, 0, each turned and scaled at random: whoever knows the buttons learns from
 * none which it was. One place alone is no piece of a hand.
 */

/** Places of a piece, and pieces of an event, at most. */
export const PLACES = 8;
export const PIECES = 4;

/** Two samples this far apart, in milliseconds, have a rest between them: the one before it is kept. */
const REST_MS = 100;

/** Between two pieces of one event, whatever was between them. */
export const BETWEEN_MS = 1_000;

export interface Column {
  /**
   * Takes a sample, or leaves it out.
   *
   * @param at milliseconds on the page's clock, as of `Event.timeStamp`.
   * @param values one a field.
   */
  add(at: number, values: number[]): void;
  /** What comes is of another movement. */
  cut(): void;
  /** What there is, as `{t, …}` with arrays of equal lengths; the column is empty afterwards. */
  take(): Record<string, number[]> | undefined;
}

/**
 * At most one sample every `gapMs`, and always the one before a rest: where a movement ended is what people and machines
 * do differently. A sample that repeats the one before says nothing and is left out.
 *
 * @param isHand whether x and y are where a hand is, which answers.
 */
export function column(names: readonly string[], gapMs: number, isHand?: boolean, random = Math.random): Column {
  let pieces: number[][][] = [];
  let seen = 0;
  let piece: number[][] = [];
  let kept: number[] = [-Infinity];
  let passed: number[] | undefined;
  let last = 0;

  const keep = (row: number[]): void => {
    if (row.some((value, field) => field && value !== kept[field])) piece.push((kept = row));
    passed = undefined;
    if (piece[PLACES - 1]) cut();
  };
  /** Each piece is as likely as any other to be among those given, and in any place there. */
  const cut = (): void => {
    if (passed) keep(passed);
    const whole = piece;
    piece = [];
    if (!whole[isHand ? 1 : 0]) return;
    const place = Math.floor(random() * (seen += 1));
    if (seen <= PIECES) pieces.push(pieces[place]!);
    if (place < PIECES) pieces[place] = whole;
  };

  return {
    cut,
    add(at, values) {
      if (at - last >= REST_MS) cut();
      const row = [(last = at), ...values];
      if (at - kept[0]! >= gapMs) keep(row);
      else passed = row;
    },
    take() {
      cut();
      if (!seen) return undefined;
      const rows: number[][] = [];
      let began = 0;
      for (const rowsOfPiece of pieces) {
        const [from, fromX, fromY] = rowsOfPiece[0] as [number, number, number];
        const turn = random() * 2 * Math.PI;
        const size = 4 ** (random() - 0.5);
        const along = size * Math.cos(turn);
        const across = size * Math.sin(turn);
        for (const row of rowsOfPiece) {
          const [when, x, y] = row as [number, number, number];
          const right = x - fromX;
          const down = y - fromY;
          row[0] = Math.round(began + when - from);
          if (isHand) {
            row[1] = Math.round(right * along - down * across);
            row[2] = Math.round(right * across + down * along);
          }
          rows.push(row);
        }
        began = rows[rows.length - 1]![0]! + BETWEEN_MS;
      }
      pieces = [];
      seen = 0;
      const taken: Record<string, number[]> = {};
      ["t", ...names].forEach((name, field) => {
        taken[name] = rows.map((row) => row[field]!);
      });
      return taken;
    },
  };
}
