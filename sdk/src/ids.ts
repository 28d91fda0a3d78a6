/** Random bytes in hexadecimal. */
export function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  let text = "";
  for (let n = 0; n < bytes; n += 1) text += (random[n]! + 256).toString(16).slice(1);
  return text;
}

/**
 * A UUID of version 7: the time, then random bits. It says nothing that the event's `ts` does not say.
 *
 * @param at Unix milliseconds.
 * @param random 18 hexadecimal digits.
 */
export function uuid(at: number, random = randomHex(9)): string {
  const time = at.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6)}`;
}
