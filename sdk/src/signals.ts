/** Listens, passively, and notes positions and times. Nothing is kept of what was pressed, clicked or read. */

import { SAMPLES_MAX, column, type Column } from "./columns.js";
import { strokes } from "./strokes.js";
import type { SignalType } from "./types.js";

/** Milliseconds between samples: 25 a second for hands, 10 for what moves with them. */
const HAND_MS = 40;
const SLOW_MS = 100;

export interface Signals {
  /** What was gathered since the last time, as events without ids. */
  take(): { type: SignalType; ts: number; [field: string]: unknown }[];
  stop(): void;
  /** Asks for motion where the browser wants to be asked; whether it is permitted. */
  motion(): Promise<boolean>;
}

/**
 * @param types to collect.
 * @param onSample called on every sample; `full` when the samples have to be taken now.
 */
export function listen(types: readonly SignalType[], onSample: (full: boolean) => void): Signals {
  const abort = new AbortController();
  const columns: Partial<Record<SignalType, Column>> = {};
  const keys = strokes();

  const on = (names: string, handler: (event: any) => void): void => {
    for (const name of names.split(" ")) {
      // Events that a script made up say nothing about who is there.
      addEventListener(name, (event) => event.isTrusted && handler(event), {
        passive: true,
        capture: true,
        signal: abort.signal,
      });
    }
  };
  const wanted = (type: SignalType): boolean => types.includes(type);
  const recorder = (type: SignalType, gapMs: number, ...fields: string[]): ((event: Event, ...row: number[]) => void) => {
    const samples = (columns[type] = column(fields, gapMs));
    return (event, ...row) => onSample(samples.add(event.timeStamp, row));
  };

  if (wanted("pointer")) {
    const record = recorder("pointer", HAND_MS, "x", "y");
    on("pointermove pointerdown", (event: PointerEvent) => {
      if (event.pointerType !== "touch") record(event, Math.round(event.clientX), Math.round(event.clientY));
    });
  }
  if (wanted("touch")) {
    const record = recorder("touch", HAND_MS, "x", "y", "force");
    on("touchstart touchmove touchend", (event: TouchEvent) => {
      const touch = event.changedTouches[0]!;
      record(event, Math.round(touch.clientX), Math.round(touch.clientY), Math.round(touch.force * 100) / 100);
    });
  }
  if (wanted("scroll")) {
    const record = recorder("scroll", SLOW_MS, "x", "y");
    let last: EventTarget | null;
    on("scroll", (event) => {
      // Positions of another element are of another story.
      if (last && last !== event.target) onSample(true);
      last = event.target;
      const { scrollLeft, scrollTop } = (last as Document).scrollingElement ?? (last as Element);
      record(event, Math.round(scrollLeft), Math.round(scrollTop));
    });
  }
  if (wanted("key")) {
    // The rhythm of a password can give the password away.
    const isSecret = (event: Event): boolean => (event.composedPath()[0] as HTMLInputElement).type === "password";
    on("keydown", (event: KeyboardEvent) => {
      if (!event.repeat && !isSecret(event)) keys.press(event.code, event.timeStamp);
    });
    on("keyup", (event: KeyboardEvent) => {
      const count = keys.release(event.code, event.timeStamp);
      if (count) onSample(count >= SAMPLES_MAX);
    });
    on("blur", (event) => event.target === window && keys.forget());
  }

  const tenth = (value: number | null): number => Math.round(value! * 10) / 10;
  const turn = wanted("gyroscope") && recorder("gyroscope", SLOW_MS, "x", "y", "z");
  const pull = wanted("accelerometer") && recorder("accelerometer", SLOW_MS, "x", "y", "z");
  if (turn || pull) {
    // Without permission no such event comes.
    on("devicemotion", (event: DeviceMotionEvent) => {
      const rate = event.rotationRate;
      const force = event.accelerationIncludingGravity;
      // Of a rotation rate, unlike of an orientation, alpha, beta and gamma turn about x, y and z: so do browsers.
      if (turn && rate?.alpha != null) turn(event, tenth(rate.alpha), tenth(rate.beta), tenth(rate.gamma));
      if (pull && force?.x != null) pull(event, tenth(force.x), tenth(force.y), tenth(force.z));
    });
  }

  return {
    take() {
      const origin = Date.now() - performance.now();
      const taken = [];
      for (const type of types) {
        const fields = type === "key" ? keys.take(origin) : columns[type]?.take(origin);
        if (fields) taken.push({ type, ...fields });
      }
      return taken;
    },
    stop: () => abort.abort(),
    async motion() {
      const sensors = (globalThis as any).DeviceMotionEvent;
      return !!sensors && (!sensors.requestPermission || (await sensors.requestPermission()) === "granted");
    },
  };
}
