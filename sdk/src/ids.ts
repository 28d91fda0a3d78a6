/** Random bytes in hexadecimal. */
export const randomHex = (bytes: number): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => (byte + 256).toString(16).slice(1)).join("");

/**
 * A UUID of version 7: the time, then random bits. It says nothing that the event's `ts` does not say.
 *
 * @param now Unix milliseconds.
 * @param random 20 hexadecimal digits.
 */
export const uuid = (now: number, random = randomHex(10)): string =>
  (now.toString(16).padStart(12, "0") + "7" + random.slice(0, 3) + "8" + random.slice(4)).replace(
    /^(.{8})(.{4})(.{4})(.{4})(.{12}).*/,
    "$1-$2-$3-$4-$5",
  );
