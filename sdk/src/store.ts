/** Batches that wait in IndexedDB for the next page. Every failure of it means only that they wait in memory. */

import { QUEUE_BYTES_MAX, type Batch } from "./batches.js";

/** How long a batch is its page's own; a page that lives renews it, one that closes gives it up. */
export const LEASE_MS = 120_000;
const AGE_MS_MAX = 86_400_000;
const BATCHES_MAX = 64;

export interface Store {
  /** Writes them; what the transaction wrote survives the page's end. */
  put(batches: readonly Batch[], onDone: (ids: string[]) => void): void;
  remove(ids: readonly string[]): void;
  /**
   * Some of those that belong to nobody, now to this page until `until`: one transaction, so no two pages get the same.
   * Those that waited for over a day, or are more than there is room for, go.
   */
  claim(to: string, now: number, until: number): Promise<Batch[]>;
}

/** The store, or undefined where there is none: forbidden, full, or broken. */
export function openStore(): Promise<Store | undefined> {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open("unjoin", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("batches", { keyPath: "id" });
      request.onsuccess = () => resolve(storeOf(request.result));
      request.onerror = request.onblocked = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
}

function storeOf(db: IDBDatabase): Store {
  db.onversionchange = () => db.close();
  const within = (work: (batches: IDBObjectStore) => void): IDBTransaction | undefined => {
    try {
      const transaction = db.transaction("batches", "readwrite");
      work(transaction.objectStore("batches"));
      return transaction;
    } catch {
      return undefined;
    }
  };
  return {
    put(batches, onDone) {
      const transaction = within((store) => batches.forEach((batch) => store.put(batch)));
      if (!transaction) return;
      const ids = batches.map((batch) => batch.id);
      transaction.oncomplete = () => onDone(ids);
      transaction.commit?.(); // a page that closes has no turn of the event loop left for it
    },
    remove(ids) {
      within((store) => ids.forEach((id) => store.delete(id)));
    },
    claim(to, now, until) {
      const claimed: Batch[] = [];
      let room = QUEUE_BYTES_MAX / 2;
      return new Promise((resolve) => {
        const transaction = within((store) => {
          store.getAll().onsuccess = (event) => {
            const all = (event.target as IDBRequest<Batch[]>).result;
            all.forEach((batch, place) => {
              if (now - batch.at > AGE_MS_MAX || place < all.length - BATCHES_MAX) store.delete(batch.id);
              // A lease that ends after tomorrow is of a clock that was set back since.
              else if (batch.to === to && (batch.until < now || batch.until > now + AGE_MS_MAX * 2) && room > 0) {
                room -= batch.bytes;
                claimed.push({ ...batch, until });
                store.put({ ...batch, until });
              }
            });
          };
        });
        if (transaction) {
          transaction.oncomplete = () => resolve(claimed);
          transaction.onabort = () => resolve([]);
        } else resolve([]);
      });
    },
  };
}
