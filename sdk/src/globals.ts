/**
 * What a page may patch, taken once, when this script runs. Importing it elsewhere, as on a server, does nothing.
 *
 * zone.js (Angular) keeps the originals beside its own: with those, no pointer move starts a change detection.
 */

const root: any = globalThis;

/** Whether there is a page at all: not in Node, where frameworks render, nor in a worker. */
export const inPage = typeof document === "object";

const taken = (owner: any, name: string): any => owner && (owner["__zone_symbol__" + name] || owner[name]);

const dateNow = Date.now;
const clock = root.performance;
const clockNow = clock?.now;
const add = taken(root.EventTarget?.prototype, "addEventListener");
const sendBeacon = root.Navigator?.prototype.sendBeacon;

export const Zipper = root.CompressionStream;
export const isList = Array.isArray;
export const keysOf = Object.keys;
export const request: typeof fetch = taken(root, "fetch");
export const later: (work: () => void, ms: number) => number = taken(root, "setTimeout");
export const cancel: (timer: number | undefined) => void = taken(root, "clearTimeout");
/** Unix milliseconds, by a clock that people and programs set. */
export const now = (): number => dateNow();
/** Milliseconds by a clock that nobody sets: for how long to wait. */
export const ticks = (): number => clockNow.call(clock);
export const takesBeacon = (url: string, body: string): boolean => sendBeacon?.call(navigator, url, body);

/** What it throws never reaches the page. */
export const guarded =
  (handler: (event: any) => void) =>
  (event?: Event): void => {
    try {
      handler(event);
    } catch (error) {
      console.warn("unjoin:", error);
    }
  };

/** Passively. */
export const listenTo = (target: EventTarget, name: string, handler: (event: any) => void): void =>
  add.call(target, name, guarded(handler), { passive: true, capture: true });

/** A promise's value, or an error if it takes longer. */
export const within = <T>(promise: Promise<T>, ms: number, onLate?: () => void): Promise<T> =>
  new Promise((resolve, reject) => {
    const timer = later(() => {
      onLate?.();
      reject();
    }, ms);
    promise.then(resolve, reject).then(() => cancel(timer));
  });
