// A rater's progress, and how long the rest takes at their own pace.

import { $ } from "./tools.js";

const FRESH = 10_000; // milliseconds
const MINUTE = 60;
const HOUR = 3600;

const CLOSE = "You may close this page. Your link stays valid: open it again when you are asked to.";
const STAY = "Leave this page open, or open your link again later.";
const ENDS = {
  finished: ["That was the last one", "The study has all the answers that it asks for."],
  others: [
    "That is all for you",
    "You have seen every screen that you can answer. The study goes on: the other screens need people who have not seen them.",
  ],
  waiting: [
    "Nothing for now",
    "Other people have the last screens open. You get those that they do not answer: this page checks again by itself.",
  ],
};

/** A number of seconds as a text: "about 4 min left". */
export function timeLeft(seconds) {
  if (seconds < 0.75 * MINUTE) return "less than a minute left";
  if (seconds < 1.5 * HOUR) return `about ${Math.max(1, Math.round(seconds / MINUTE))} min left`;
  return `about ${Math.round((2 * seconds) / HOUR) / 2} h left`;
}

export class Progress {
  constructor() {
    this.asked = -Infinity; // when the server sent the number of remaining screens
    this.done = 0; // screens, as the server counts them
    this.counted = 0; // the same, at that time
    this.remaining = null; // remaining screens at that time; null where there is no end, as in live mode
    this.pace = null; // seconds a screen; null while it is not known
    this.state = "asking"; // or the reason why there is no screen, a key of ENDS
  }

  /** Shows why there is nothing to answer. */
  end() {
    const { state } = this;
    const [title, why] = ENDS[state] ?? ENDS.others;
    $("end-title").textContent = title;
    $("end-why").textContent = why;
    const screens = this.done === 1 ? "one screen" : `${this.done} screens`;
    $("end-done").textContent = this.done ? `Thank you. You answered ${screens}.` : "";
    $("end-next").textContent = state === "waiting" ? STAY : CLOSE;
  }

  /** Whether to ask the server again for the number of remaining screens; here only own answers are subtracted. */
  get stale() {
    return this.pace === null || this.state !== "asking" || performance.now() - this.asked > FRESH;
  }

  /** Takes the numbers that the server sent; `ahead` is null where it was not asked for. */
  set({ done, ahead }) {
    if (ahead) {
      Object.assign(this, { counted: done, remaining: ahead.screens, pace: ahead.pace, state: ahead.state });
      this.asked = performance.now();
    }
    this.done = done;
  }

  /** @param {number} total screens that are answered, with those whose answers are not confirmed yet */
  show(total) {
    const left = this.remaining === null ? null : Math.max(0, this.remaining - (total - this.counted));
    const all = total + (left ?? 0);
    $("done").textContent = left === null ? `${total} done` : all ? `${total} of ${all} done` : "";
    $("left").textContent = left && this.pace ? timeLeft(left * this.pace) : "";
    $("progress").hidden = left === null;
    $("progress").max = Math.max(1, all);
    $("progress").value = total;
  }
}
