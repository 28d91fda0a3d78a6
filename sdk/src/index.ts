/** What a page calls. */

export { counts, flush, grant, init, label, motion, page, revoke, session, stop, track } from "./api.js";
export type { Counts, Fate, LabelKind, Options, Outcome, Properties, SentEvent, SignalType } from "./types.js";
