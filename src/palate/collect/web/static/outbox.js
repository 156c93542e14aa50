// The queue of unsent votes: each is sent again until the server confirms it, also after a reload or a lost connection.

import { insist } from "./server.js";

const NAME = "outbox";

/**
 * A queue of `{uuid, path, body}`. The browser stores it, and all tabs of a rater share it; an entry that two tabs send
 * counts once, because of its UUID.
 */
export class Outbox {
  /**
   * @param {import("./tools.js").Store} store
   * @param {{changed: function(), failed: function(Error), saved: function(object, object),
   *   refused: function(object, Error), stopped: function(Error)}} callbacks `changed` when the queue changes
   */
  constructor(store, callbacks) {
    this.store = store;
    this.callbacks = callbacks;
    this.running = false;
    this.stopped = false;
    addEventListener("storage", (event) => {
      if (event.key !== store.prefix + NAME) return; // another key than the queue's, changed by another tab
      callbacks.changed();
      this.run();
    });
    addEventListener("beforeunload", (event) => {
      if (!this.entries.length) return;
      event.preventDefault();
      event.returnValue = true; // for older browsers
    });
  }

  get entries() {
    return this.store.get(NAME) ?? [];
  }

  add(entry) {
    this.store.set(NAME, [...this.entries, entry]);
    this.callbacks.changed();
    this.run();
  }

  drop(unwanted) {
    const left = this.entries.filter((entry) => !unwanted(entry));
    if (left.length) this.store.set(NAME, left);
    else this.store.remove(NAME);
  }

  /** Sends all entries, oldest first: an undo must arrive after the vote that it takes back. */
  async run() {
    if (this.running || this.stopped) return;
    this.running = true;
    try {
      for (let entry = this.entries[0]; entry && !this.stopped; entry = this.entries[0]) await this.send(entry);
    } finally {
      this.running = false;
    }
  }

  async send(entry) {
    let receipt;
    try {
      receipt = await insist(entry.path, entry.body, (error) => this.callbacks.failed(error));
    } catch (error) {
      this.refuse(entry, error);
      return;
    }
    this.drop((each) => each.uuid === entry.uuid);
    this.callbacks.saved(entry, receipt);
  }

  refuse(entry, error) {
    if (error.status === 401 || error.status === 403) {
      this.stopped = true; // the entry is kept; the page that the rater opens next sends it
      this.callbacks.stopped(error);
      return;
    }
    this.drop((each) => each.uuid === entry.uuid || each.body.vote === entry.uuid);
    this.callbacks.changed();
    this.callbacks.refused(entry, error);
  }
}
