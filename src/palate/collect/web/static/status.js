// What the page says about itself: one quiet line for what goes well, a notice for what needs the rater.

import { Refused } from "./server.js";
import { $, sentence } from "./tools.js";

const counted = (n) => (n === 1 ? "1 answer" : `${n} answers`);

export class Status {
  constructor() {
    this.line = $("status");
    this.notice = $("notice");
    this.lost = false;
    addEventListener("offline", () => this.say("Offline", "trying"));
    addEventListener("online", () => this.say("Online again", ""));
    this.notice.querySelector("button").addEventListener("click", () => this.pressed());
  }

  /** @param {string} state "" | "hint" | "saved" | "trying" | "stopped" */
  say(text, state = "") {
    this.line.textContent = text;
    this.line.dataset.state = state;
  }

  saved(left, label) {
    this.lost = false;
    if (left) this.say(`${counted(left)} not saved yet`, "trying");
    else this.say(label ? `Saved: ${label}` : "Saved", "saved");
  }

  /** An attempt came to nothing; there will be another. */
  failed(error, unsaved) {
    const what = unsaved ? `${counted(unsaved)} not saved yet` : "";
    if (error instanceof Refused) this.say(what ? `${what}, waiting a moment` : "Waiting a moment", "trying");
    else if (!navigator.onLine) this.say(what ? `Offline: ${what}, kept on this device` : "Offline", "trying");
    else this.say(what ? `${what}, trying again` : "No connection, trying again", "trying");
    this.lost = true;
  }

  /** There is a connection. */
  reached() {
    if (this.lost && this.line.dataset.state === "trying") this.say("Connected again");
    this.lost = false;
  }

  /** The server does not take this page's requests any more. */
  stopped(error) {
    if (error.status === 401) {
      this.tell("This browser is not known any more. Open the link that you were sent again; unsaved answers are kept.");
    } else {
      this.tell(`${sentence(error.message)} Unsaved answers are kept.`, "Reload", () => location.reload());
    }
    this.say("Stopped", "stopped");
  }

  /** A vote that does not count. */
  refused(entry, error) {
    const what = entry.path === "/api/undo" ? "The last answer was not taken back" : "Your answer was not counted";
    this.say("", "");
    this.tell(`${what}: ${error.message}. Here is what is open now.`, "OK", () => {});
  }

  /** Where the images would be: why they are not there. */
  trouble(text) {
    $("trouble").hidden = !text;
    $("trouble").textContent = text;
  }

  /** What the rater is to do next; gone once they do something. */
  hint(text) {
    this.say(text, text ? "hint" : "");
  }

  unhint() {
    if (this.line.dataset.state === "hint") this.hint("");
  }

  tell(text, button = "", pressed = () => {}) {
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
