/** Batches that wait in IndexedDB for the next page. Every failure of it means only that they wait in memory. */

import { QUEUE_BYTES_MAX, type Batch } from "./batches.js";

/** How long a batch is its page's own; a page that lives renews it, one that closes gives it up. */
export const LEASE_MS = 120_000;
const AGE_MS_MAX = 86_400_000;
const BATCHES_MAX = 512;

export interface Store {
  /** Writes them; what the transaction wrote survives the page's end. */
  put(batches: readonly Batch[], onDone: () => void): void;
  remove(ids: readonly string[]): void;
  /**
   * Some of those that belong to nobody, now to this page until `until`: one transaction, so no two pages get the same.
   * Those that waited for over a day, or are more than there is room for, go; where `until` is 0, all that go `to`
   * there, whosesoever.
   *
   * @param onDone told what is this page's now, and of those that went what belonged to nobody; never where nothing
   *   can be stored.
   */
  claim(to: string, now: number, until: number, onDone: (claimed: Batch[], gone: Batch[]) => void): void;
}

/** Never tells of one where there is none: forbidden, full, or broken. */
export function openStore(onOpen: (store: Store) => void): void {
  try {
    const request = indexedDB.open("unjoin", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("batches", { keyPath: "id" });
    request.onsuccess = () => onOpen(storeOf(request.result));
  } catch {} // memory has to do
}

function storeOf(db: IDBDatabase): Store {
  db.onversionchange = () => db.close();
  const change = (work: (batches: IDBObjectStore) => void, onDone?: () => void, goesOn?: boolean): void => {
    try {
      const transaction = db.transaction("batches", "readwrite");
      transaction.oncomplete = onDone!;
      work(transaction.objectStore("batches"));
      // A page that closes has no turn of the event loop left for it.
      if (!goesOn) transaction.commit?.();
    } catch {} // closed, or broken
  };
  return {
    put(batches, onDone) {
      change((store) => batches.forEach((batch) => store.put(batch)), onDone);
    },
    remove(ids) {
      change((store) => ids.forEach((id) => store.delete(id)));
    },
    claim(to, now, until, onDone) {
      const claimed: Batch[] = [];
      const gone: Batch[] = [];
      let room = QUEUE_BYTES_MAX / 2;
      change(
        (store) => {
          store.getAll().onsuccess = (event) => {
            const all = (event.target as IDBRequest<Batch[]>).result;
            all.forEach((batch, place) => {
              // A lease of longer than any is of a clock that was set back since.
              const isFree = batch.until < now || batch.until > now + LEASE_MS * 2;
              const isOurs = batch.to === to;
              if (now - batch.at > AGE_MS_MAX || (isFree && place < all.length - BATCHES_MAX) || (isOurs && !until)) {
                store.delete(batch.id);
                if (isFree) gone.push(batch);
              } else if (isOurs && isFree && room > 0) {
                room -= batch.bytes;
                batch.until = until;
                claimed.push(batch);
                store.put(batch);
              }
            });
          };
        },
        () => onDone(claimed, gone),
        true,
      );
    },
  };
}
