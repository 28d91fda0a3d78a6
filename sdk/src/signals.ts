/** Listens, passively, and notes positions and times. Nothing is kept of what was pressed, clicked or read. */

import { column, type Column } from "./columns.js";
import { listenTo, now, ticks } from "./globals.js";
import { strokes } from "./strokes.js";
import type { SignalType } from "./types.js";

/** Milliseconds between samples: 25 a second for hands, 10 for what moves with them. */
const HAND_MS = 40;
const SLOW_MS = 100;

export interface Signals {
  /** What was gathered since the last time, as events without ids. */
  take(): { type: SignalType; ts: number; [field: string]: unknown }[];
  /** Somebody answers right now: where the hand is tells what. */
  hush(): void;
  /** Whether to listen at all. */
  listens: boolean;
}

/**
 * @param types to collect.
 * @param onSample called on every sample; `full` when the samples have to be taken now.
 */
export function listen(types: readonly SignalType[] | string, onSample: (full: boolean) => void): Signals {
  const taking: [SignalType, Pick<Column, "take"> & Partial<Column>][] = [];
  const wanted = (type: SignalType): boolean => types.includes(type as any);
  const on = (names: string, handler: (event: any) => void): void => {
    for (const name of names.split(" ")) {
      // Events that a script made up say nothing about who is there.
      listenTo(window, name, (event) => signals.listens && event.isTrusted && handler(event));
    }
  };
  /** @param parts of a unit that values are rounded to. */
  const watch = (
    type: SignalType,
    events: string,
    gapMs: number,
    parts: number,
    fields: readonly string[],
    read: (event: any) => number[] | false,
  ): void => {
    if (!wanted(type)) return;
    const samples = column(fields, gapMs, gapMs === HAND_MS);
    taking.push([type, samples]);
    on(events, (event) => {
      const values = read(event);
      if (values) {
        onSample(
          samples.add(
            event.timeStamp,
            values.map((value) => Math.round(value * parts) / parts),
          ),
        );
      }
    });
  };

  watch("pointer", "pointermove pointerdown", HAND_MS, 1, ["x", "y"], (event: PointerEvent) =>
    event.pointerType !== "touch" && [event.clientX, event.clientY],
  );
  watch("touch", "touchstart touchmove touchend", HAND_MS, 100, ["x", "y", "force"], (event: TouchEvent) => {
    const touch = event.changedTouches[0]!;
    return [Math.round(touch.clientX), Math.round(touch.clientY), touch.force];
  });
  let last: EventTarget | null;
  watch("scroll", "scroll", SLOW_MS, 1, ["x", "y"], (event) => {
    // Positions of another element are of another story.
    if (last && last !== event.target) onSample(true);
    last = event.target;
    const { scrollLeft, scrollTop } = (last as Document).scrollingElement ?? (last as Element);
    return [scrollLeft, scrollTop];
  });
  // Without permission no such event comes. Of a rotation rate, unlike of an orientation, alpha, beta and gamma turn about
  // x, y and z: so do browsers.
  watch("gyroscope", "devicemotion", SLOW_MS, 10, ["x", "y", "z"], ({ rotationRate: rate }) =>
    rate?.alpha != null && [rate.alpha, rate.beta, rate.gamma],
  );
  watch("accelerometer", "devicemotion", SLOW_MS, 10, ["x", "y", "z"], ({ accelerationIncludingGravity: force }) =>
    force?.x != null && [force.x, force.y, force.z],
  );

  if (wanted("key")) {
    const keys = strokes();
    taking.push(["key", keys]);
    // The rhythm of a password can give the password away.
    const isSecret = (event: Event): boolean => (event.composedPath()[0] as HTMLInputElement).type === "password";
    on("keydown", (event: KeyboardEvent) => {
      if (!event.repeat && !isSecret(event)) keys.press(event.code, event.timeStamp);
    });
    on("keyup", (event: KeyboardEvent) => {
      if (keys.release(event.code, event.timeStamp)) onSample(false);
    });
    on("blur", (event) => event.target === window && keys.forget());
  }

  // A click may be an answer.
  on("click", () => signals.hush());

  const signals: Signals = {
    hush: () => taking.forEach(([, samples]) => samples.hush?.(ticks())),
    listens: true,
    take() {
      const origin = now() - ticks();
      const taken = [];
      for (const [type, samples] of taking) {
        const fields = samples.take(origin, ticks());
        if (fields) taken.push({ type, ...fields });
      }
      return taken;
    },
  };
  return signals;
}
