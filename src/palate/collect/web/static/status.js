// The page's messages: a line that says whether all answers are saved, a hint, and a notice.

import { Refused } from "./server.js";
import { $, sentence } from "./tools.js";

const QUICK = 250; // milliseconds in which an answer is usually saved: nothing is shown before
const SLOW = 3000; // milliseconds after which the server is slow to confirm an answer
const BRIEF = 5000; // milliseconds for which a remark stays

/** Why no images are shown. */
export const WAITS = {
  unseen: "The images do not load; trying again. You can skip or flag this screen.",
  lost: "The next screen comes once there is a connection. Your answers are kept here.",
  saving: "The next screen comes once the server has saved your answers.",
};

const counted = (n) => (n === 1 ? "1 answer" : `${n} answers`);

/**
 * The line never says "Saved" while an answer is not confirmed: the number of answers that the server has not confirmed
 * (`unsaved`) decides first, each time that the line is written.
 */
export class Status {
  /** @param {function(): boolean} kept whether unsaved answers are kept when this page is closed */
  constructor(kept) {
    this.kept = kept;
    this.line = $("status");
    this.notice = $("notice");
    this.unsaved = 0;
    this.since = 0; // when the first of them was given, or when the answer before it was confirmed
    this.problem = null; // why the last attempt failed
    this.ended = false; // whether the server no longer accepts this page's requests
    this.last = ""; // which answer was saved last, or that there is a connection again
    for (const event of ["offline", "online"]) addEventListener(event, () => this.write());
    this.notice.querySelector("button").addEventListener("click", () => this.pressed());
  }

  /** `unsaved` answers are not confirmed; `progress` if one more has just been. */
  sending(unsaved, progress = false) {
    if (progress || !this.unsaved) this.since = performance.now();
    if (unsaved) this.last = "";
    this.unsaved = unsaved;
    this.write();
  }

  /** The server has confirmed an answer; `unsaved` others are not confirmed yet. */
  saved(unsaved, label) {
    this.problem = null;
    this.last = label ? `Saved: ${label}` : "Saved";
    this.sending(unsaved, true);
  }

  /** An attempt failed; there will be another. */
  failed(error) {
    this.problem = error;
    this.write();
  }

  /** There is a connection. */
  reached() {
    if (this.problem && !this.unsaved) this.last = "Connected again";
    this.problem = null;
    this.write();
  }

  get lost() {
    return this.problem !== null;
  }

  get slow() {
    return this.unsaved > 0 && performance.now() - this.since >= SLOW;
  }

  write() {
    clearTimeout(this.timer);
    const [text, state] = this.words();
    if (this.line.textContent !== text) this.line.textContent = text;
    this.line.dataset.state = state;
    if (!this.unsaved || this.slow) return;
    const passed = performance.now() - this.since;
    this.timer = setTimeout(() => this.write(), (passed < QUICK ? QUICK : SLOW) - passed + 1);
  }

  /** @returns {[string, string]} the line and its state: "" | "saving" | "saved" | "trying" | "stopped" */
  words() {
    const open = `${counted(this.unsaved)} not saved yet`;
    if (this.ended) return [this.unsaved ? `Stopped: ${open}` : "Stopped", "stopped"];
    const offline = !navigator.onLine;
    if (this.unsaved && offline) return [`Offline: ${open}, ${this.kept() ? "kept on this device" : "keep this page open"}`, "trying"];
    if (offline) return ["Offline", "trying"];
    if (this.unsaved && this.problem) return [`${open}, ${this.problem instanceof Refused ? "waiting a moment" : "trying again"}`, "trying"];
    if (this.problem) return [this.problem instanceof Refused ? "Waiting a moment" : "No connection, trying again", "trying"];
    if (this.slow) return [`${open}, the server is slow`, "trying"];
    if (this.unsaved) return [performance.now() - this.since < QUICK ? "" : "Saving…", "saving"];
    return [this.last, this.last.startsWith("Saved") ? "saved" : ""];
  }

  /** The server no longer accepts this page's requests. */
  stopped(error) {
    const fate = this.kept() ? "unsaved answers are kept" : "answers that are not saved are lost when it is closed";
    if (error.status === 401) {
      this.notify(`This browser is not known any more. Open the link that you were sent again; ${fate}.`);
    } else {
      this.notify(`${sentence(error.message)} ${sentence(fate)}`, "Reload", () => location.reload());
    }
    this.ended = true;
    this.write();
  }

  /** The server refused a vote, which does not count. */
  refused(entry, error) {
    const what = entry.path === "/api/undo" ? "The last answer was not taken back" : "Your answer was not counted";
    this.notify(`${what}: ${error.message}. Here is what is open now.`, "OK", () => {});
  }

  /** Shows, in the place of the images, why they are not shown. */
  trouble(text) {
    $("trouble").hidden = !text;
    $("trouble").textContent = text;
  }

  /** Shows what the rater must do next, above the buttons for it, until they do something. */
  hint(text) {
    clearTimeout(this.fading);
    const above = document.querySelector(".single #questions:not([hidden] *)") ?? document.querySelector(".tools");
    const bottom = Math.max(8, innerHeight - above.getBoundingClientRect().top + 4);
    if (text) $("hint").style.setProperty("--hint", `${bottom}px`);
    $("hint").textContent = text;
  }

  /** Shows the result of something that the rater pressed, for a few seconds. */
  remark(text) {
    this.hint(text);
    this.fading = setTimeout(() => this.hint(""), BRIEF);
  }

  notify(text, button = "", pressed = () => {}) {
    this.notice.querySelector("p").textContent = text;
    this.notice.querySelector("button").textContent = button;
    this.notice.querySelector("button").hidden = !button;
    this.notice.hidden = false;
    this.pressed = () => {
      this.notice.hidden = true;
      pressed();
    };
  }
}
