/** Listens, passively, and notes positions and times. Nothing is kept of what was pressed, clicked or read. */

import { column, type Column } from "./columns.js";
import { listenTo } from "./globals.js";
import { strokes } from "./strokes.js";
import type { SignalType } from "./types.js";

/** Milliseconds between samples: 25 a second for hands, 10 for what moves with them. */
const HAND_MS = 40;
const SLOW_MS = 100;

export interface Signals {
  /** Gives away what was gathered since the last time, at most one event a type. */
  take(give: (type: SignalType, fields: object) => void): void;
  /** Whether to listen at all. */
  listens: boolean;
}

/** @param types to collect. */
export function listen(types: readonly SignalType[] | string): Signals {
  const taking: [SignalType, { take(): object | undefined }][] = [];
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
    read: (event: any, samples: Column) => number[] | false,
  ): void => {
    if (!wanted(type)) return;
    const samples = column(fields, gapMs, gapMs === HAND_MS);
    taking.push([type, samples]);
    on(events, (event) => {
      const values = read(event, samples);
      if (values) {
        samples.add(
          event.timeStamp,
          values.map((value) => Math.round(value * parts) / parts),
        );
      }
    });
  };

  watch("pointer", "pointermove pointerdown", HAND_MS, 1, ["x", "y"], (event: PointerEvent) =>
    event.pointerType !== "touch" && [event.clientX, event.clientY],
  );
  watch("touch", "touchstart touchmove touchend", HAND_MS, 100, ["x", "y", "force"], (event: TouchEvent) => {
    const touch = event.changedTouches[0]!;
    return [touch.clientX, touch.clientY, touch.force];
  });
  let last: EventTarget | null;
  watch("scroll", "scroll", SLOW_MS, 1, ["x", "y"], (event, samples) => {
    // Positions of another element are of another story.
    if (last !== event.target) samples.cut();
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
      keys.lift(event.code, event.timeStamp);
    });
    on("blur", (event) => event.target === window && keys.forget());
  }

  const signals: Signals = {
    listens: true,
    take(give) {
      for (const [type, samples] of taking) {
        const fields = samples.take();
        if (fields) give(type, fields);
      }
    },
  };
  return signals;
}
