// Live mode: the rater writes a prompt, the model generates images, and these are the next screen.

import { Refused, ask, insist } from "./server.js";
import { $, isForPage, keyOf, pause, sentence } from "./tools.js";

const EVERY = 1000; // milliseconds between two requests for the state of a drawing
const WORDS = {
  waiting: "Waiting for the model: it draws the prompts of others first…",
  drawing: "Drawing your images…",
  lost: "No connection, trying again…",
};

export class Live {
  /**
   * @param {import("./tools.js").Store} store
   * @param {{ready: function(), stopped: function(Error)}} callbacks
   */
  constructor(store, callbacks) {
    this.store = store;
    this.callbacks = callbacks;
    this.panel = $("live");
    this.form = $("live-form");
    this.next = $("live-next");
    this.text = $("live-prompt");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.draw(this.text.value.trim());
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    $("live-more").addEventListener("click", () => this.draw(this.store.get("prompt")));
    $("live-new").addEventListener("click", () => this.write());
    document.addEventListener("keydown", (event) => {
      if (this.next.hidden || this.panel.hidden || !isForPage(event)) return;
      const button = { M: $("live-more"), N: $("live-new") }[keyOf(event)];
      if (!button || event.repeat) return;
      event.preventDefault();
      button.click();
    });
  }

  /** Called where there is nothing to answer: waits for the drawing in progress, or asks for a prompt. */
  show() {
    this.panel.hidden = false;
    if (this.drawing) return;
    if (this.store.get("job") !== null) this.follow(this.store.get("job"));
    else if (this.store.get("prompt")) this.offer();
    else this.write();
  }

  hide() {
    this.panel.hidden = true;
  }

  offer() {
    this.turnTo(this.next);
    $("live-next-title").focus();
  }

  write() {
    this.turnTo(this.form);
    this.say("");
    this.text.value = "";
    this.text.focus();
  }

  /** @param {Element|null} part null while the rater can only wait */
  turnTo(part) {
    this.form.hidden = part !== this.form;
    this.next.hidden = part !== this.next;
    $("live-bar").hidden = part !== null;
    for (const id of ["live-label", "live-recent"]) $(id).hidden = part === this.form;
    $("live-recent").textContent = this.store.get("prompt") ?? "";
  }

  say(text, failed = false) {
    $("live-state").textContent = text;
    $("live-state").classList.toggle("failed", failed);
  }

  async draw(prompt) {
    if (!prompt || this.drawing) return;
    this.drawing = true;
    this.say("Sending your prompt…");
    try {
      const failed = (error) => this.say(error instanceof Refused ? WORDS.waiting : WORDS.lost);
      const { job } = await insist("/api/live", { prompt }, failed);
      this.store.set("prompt", prompt);
      this.store.set("job", job);
      this.drawing = false;
      await this.follow(job);
    } catch (error) {
      this.failed(error, prompt);
    }
  }

  /** Asks for the state of a drawing until it is ready. */
  async follow(job) {
    if (this.drawing) return;
    this.drawing = true;
    this.turnTo(null);
    try {
      for (;;) {
        const seen = await this.look(job);
        if (seen.state === "ready") break;
        if (seen.state === "failed") throw new Refused(0, seen.message || "this could not be drawn");
        this.say(WORDS[seen.state] ?? WORDS.waiting);
        await pause(EVERY);
      }
      this.finish();
      this.callbacks.ready();
    } catch (error) {
      this.failed(error, this.store.get("prompt") ?? "");
    }
  }

  async look(job) {
    try {
      return await ask(`/api/live/${encodeURIComponent(job)}`);
    } catch (error) {
      if (error instanceof Refused && error.status !== 429) throw error;
      return { state: "lost" };
    }
  }

  finish() {
    this.drawing = false;
    this.store.remove("job");
    this.say("");
  }

  failed(error, prompt) {
    if (error.status === 401 || error.status === 403) {
      this.drawing = false;
      this.callbacks.stopped(error);
      return;
    }
    this.finish();
    if (error.status === 404) {
      this.callbacks.ready(); // the server no longer knows the drawing; if it is finished, its images are a screen
      return;
    }
    this.write();
    this.text.value = prompt;
    this.say(`${sentence(error.message)} Change the prompt, or try it again.`, true);
  }
}
