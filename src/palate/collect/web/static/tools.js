// Small functions that several modules need.

export const $ = (id) => document.getElementById(id);

export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** A text for use within a sentence, marked so that its direction of writing does not affect the other words. */
export const isolated = (text) => `\u2068${text}\u2069`;

export const pause = (milliseconds) =>
  new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done); // there is a connection again: no reason to wait longer
  });

/** A random UUID; `crypto.randomUUID` is missing where a study is served without TLS. */
export function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** The key as `aria-keyshortcuts` names it; by its place on the keyboard where it types no Latin letter or digit. */
export function keyOf(event) {
  const { key, code } = event;
  if (/^[a-z0-9]$/i.test(key)) return key.toUpperCase();
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(code);
  if (digit && !event.shiftKey) return digit[1];
  const letter = /^Key([A-Z])$/.exec(code);
  if (letter && key.length === 1 && key.charCodeAt(0) > 127) return letter[1];
  return key;
}

/** Whether a key was meant for a text, a list or the browser itself. */
export function isTyping(event) {
  const busy = event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
  return busy || event.target.closest?.("input, textarea, select") != null;
}

/** Whether a key was meant for the page: not for a text or list, and not for a dialog, even one that the key closed. */
export function isForPage(event) {
  return !isTyping(event) && !event.defaultPrevented && !event.target.closest?.("dialog") && !anyOpenDialog();
}

export const anyOpenDialog = () => document.querySelector("dialog[open]") !== null;

/** Values that this browser stores for a rater; where it stores nothing, they are only in memory. */
export class Store {
  constructor(prefix) {
    this.prefix = prefix;
    this.memory = new Map();
  }

  /** Whether the values are kept when this page is closed. */
  get lasts() {
    return this.memory.size === 0;
  }

  get(name) {
    try {
      const text = localStorage.getItem(this.prefix + name);
      return text === null ? (this.memory.get(name) ?? null) : JSON.parse(text);
    } catch {
      return this.memory.get(name) ?? null;
    }
  }

  set(name, value) {
    try {
      localStorage.setItem(this.prefix + name, JSON.stringify(value));
      this.memory.delete(name);
    } catch {
      this.memory.set(name, value);
    }
  }

  remove(name) {
    this.memory.delete(name);
    try {
      localStorage.removeItem(this.prefix + name);
    } catch {
      // nothing was stored
    }
  }
}

/** Seconds for which the page was visible since `start`. */
export class Stopwatch {
  constructor() {
    this.start();
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.passed = this.milliseconds;
      this.since = document.hidden ? null : performance.now();
    });
  }

  start() {
    this.passed = 0;
    this.since = document.hidden ? null : performance.now();
  }

  get milliseconds() {
    return this.passed + (this.since === null ? 0 : performance.now() - this.since);
  }

  get seconds() {
    return Math.round(this.milliseconds) / 1000;
  }
}
