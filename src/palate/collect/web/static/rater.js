// The raters' page: shows a screen, takes an answer, shows the next one at once, and ensures that every answer arrives.

import { askReason, open, welcome } from "./dialogs.js";
import { Drag } from "./drag.js";
import { Layout } from "./layout.js";
import { Live } from "./live.js";
import { Outbox } from "./outbox.js";
import { Progress } from "./progress.js";
import { Questions } from "./questions.js";
import { Screen } from "./screens.js";
import { insist } from "./server.js";
import { Status, WAITS } from "./status.js";
import { $, Stopwatch, Store, isForPage, keyOf, newUuid } from "./tools.js";
import { Zoom } from "./zoom.js";

const AHEAD = 2; // screens: the one to answer and the one after it
const BACK = 12; // answered screens that are kept in memory, so that an undo shows its screen at once
const PATIENT = 1000; // milliseconds of waiting for the next screen until the page shows the reason
const AGAIN = 30_000; // milliseconds until the page asks again for screens that other raters have open
const BLIND = 250; // milliseconds after a screen appears in which answers are ignored: a double click answers once

class Rater {
  constructor(root) {
    this.task = root.dataset.task;
    this.store = new Store(`palate:${root.dataset.rater}:`);
    this.status = new Status(() => this.store.lasts);
    this.progress = new Progress();
    this.layout = new Layout(root, $("stage"));
    this.stopwatch = new Stopwatch();
    this.zoom = new Zoom();
    this.current = null;
    this.visible = false;
    this.queue = [];
    this.past = [];
    this.answered = new Set();
    this.turn = 0;
    this.questions = new Questions($("questions"), this.task, {
      complete: (label) => this.vote("answer", label, { answers: this.questions.answers }),
      locked: () => !this.visible || performance.now() - this.shownAt < BLIND,
      marked: (captions) => this.mark(captions),
      missing: (what) => this.status.hint(what),
    });
    this.outbox = new Outbox(this.store, {
      changed: () => this.status.sending(this.outbox.entries.length),
      failed: (error) => this.failed(error),
      saved: (entry, receipt) => this.saved(entry, receipt),
      refused: (entry, error) => this.refused(entry, error),
      stopped: (error) => this.status.stopped(error),
    });
    const placed = (...where) => this.questions.place(...where);
    this.drag = this.task === "ranking" ? new Drag($("stage"), placed) : null;
    const live = { ready: () => this.refill(), stopped: (error) => this.status.stopped(error) };
    this.live = root.dataset.live === "true" ? new Live(this.store, live) : null;
    this.wire();
  }

  wire() {
    const skip = askReason("skip", (reason) => this.vote("skip", "Skipped", { reason }));
    const flag = askReason("flag", (reason) => this.vote("flag", "Flagged", { reason }));
    const doing = {
      U: () => this.undo(),
      S: () => this.current && skip(),
      F: () => this.current && flag(),
      Z: () => this.visible && this.zoom.open(this.current),
      "?": () => open($("help")),
    };
    const buttons = { undo: "U", "open-skip": "S", "open-flag": "F", "open-zoom": "Z", "open-help": "?" };
    for (const [id, key] of Object.entries(buttons)) $(id).addEventListener("click", doing[key]);
    $("again").addEventListener("click", async () => {
      await this.refill();
      if (!$("end").hidden) this.status.remark("Nothing new yet");
    });
    document.addEventListener("visibilitychange", () => !document.hidden && !$("end").hidden && this.refill());
    for (const figure of $("stage").querySelectorAll("figure")) {
      const picked = () => (this.task === "rating" ? doing.Z() : this.questions.pick(Number(figure.dataset.position)));
      figure.querySelector(".frame").addEventListener("click", picked);
    }
    document.addEventListener("keydown", (event) => this.key(event, doing));
  }

  key(event, doing) {
    if (!isForPage(event)) return;
    const key = keyOf(event);
    if (event.repeat && key !== "Tab") {
      if (doing[key] || /^(\d|Enter|Arrow(Left|Right))$/.test(key)) event.preventDefault();
    } else if (doing[key]) {
      event.preventDefault();
      doing[key]();
    } else if (key === "Enter") {
      const target = event.target.closest("button, summary, a");
      if (!$("send") || $("ask").hidden || (target && target.getAttribute("aria-pressed") !== "true")) return;
      if (target?.classList.contains("shared")) return;
      event.preventDefault();
      this.questions.submit();
    } else if (!$("ask").hidden && this.questions.press(key)) {
      event.preventDefault();
    }
  }

  async start() {
    welcome(this.store, () => (this.visible ? this.begin() : this.live?.text.focus()));
    this.status.sending(this.outbox.entries.length);
    this.outbox.run();
    if (this.outbox.entries.length) this.await();
    else await this.refill();
  }

  /** Fetches the screens that are open now. With `first`, the oldest of them is shown, whatever is shown now. */
  async refill({ first = false } = {}) {
    this.first ||= first;
    this.turn += 1;
    const { turn } = this;
    let received;
    try {
      received = await insist(`/api/screens?count=${AHEAD}&ahead=${this.progress.stale}`, undefined, (error) => this.failed(error));
    } catch (error) {
      this.status.stopped(error);
      return;
    }
    if (turn !== this.turn) return; // a later request replaces this one
    this.status.reached();
    this.progress.set(received);
    this.count();
    this.take(received.screens.filter((each) => !this.answered.has(each.assignment)));
  }

  take(found) {
    const known = new Map([this.current, ...this.queue].filter(Boolean).map((each) => [each.assignment, each]));
    const screens = found.map((each) => known.get(each.assignment) ?? new Screen(each));
    if (this.first) this.current = null;
    this.first = false;
    this.queue = screens.filter((each) => each !== this.current);
    for (const each of known.values()) each.wanted = each === this.current || this.queue.includes(each);
    if (!this.current) this.advance();
  }

  advance() {
    const next = this.queue.shift();
    if (next) this.show(next);
    else if (this.outbox.entries.length) this.await();
    else this.finish();
  }

  /** Shows a screen once all its images are loaded. */
  async show(screen, answers = null) {
    this.view("ask");
    this.current = screen;
    this.blank(screen.prompt);
    this.layout.ratio = screen.ratio;
    $("stage").classList.toggle("mixed", screen.mixed);
    this.layout.apply();
    this.questions.restore(answers);
    screen.failed = () => this.current === screen && this.status.trouble(screen.failures > 1 ? WAITS.unseen : "");
    screen.failed();
    await screen.loaded;
    if (this.current !== screen || this.visible) return;
    this.status.trouble("");
    for (const [position, frame] of $("stage").querySelectorAll(".frame").entries()) {
      frame.replaceChildren(screen.images[position]);
    }
    this.visible = true;
    $("stage").classList.add("there");
    $("ask").setAttribute("aria-busy", "false");
    this.begin();
  }

  begin() {
    this.shownAt = performance.now();
    this.stopwatch.start();
  }

  blank(prompt) {
    this.visible = false;
    this.drag?.cancel();
    $("stage").classList.remove("there");
    $("ask").setAttribute("aria-busy", "true");
    for (const frame of $("stage").querySelectorAll(".frame")) frame.replaceChildren();
    $("prompt").textContent = prompt;
    $("prompt").classList.toggle("long", prompt.length > 140);
    $("prompt").scrollTop = 0;
    const clipped = $("prompt").scrollHeight > $("prompt").clientHeight + 2;
    $("prompt").classList.toggle("clipped", clipped);
    $("prompt").tabIndex = clipped ? 0 : -1; // so that keys can scroll it
  }

  /** Called while the next screen is not known, because answers are not confirmed yet. */
  await() {
    this.view("ask");
    this.current = null;
    this.blank("");
    this.status.trouble("");
    const say = () => !this.current && this.status.trouble(this.status.lost ? WAITS.lost : WAITS.saving);
    if (this.status.lost) say();
    else setTimeout(say, PATIENT);
  }

  failed(error) {
    this.status.failed(error);
    if (!this.current) this.status.trouble(WAITS.lost);
  }

  finish() {
    this.current = null;
    this.visible = false;
    this.progress.end();
    this.view(this.live ? "live" : "end");
    clearTimeout(this.asking);
    if (this.progress.state === "waiting") this.asking = setTimeout(() => !$("end").hidden && this.refill(), AGAIN);
  }

  view(name) {
    const changed = $(name).hidden;
    $("ask").hidden = name !== "ask";
    $("end").hidden = name !== "end";
    if (this.live && name === "live") this.live.show();
    else this.live?.hide();
    for (const id of ["open-skip", "open-flag", "open-zoom", "send"]) if ($(id)) $(id).hidden = name !== "ask";
    if (changed && name === "end") $("end-title").focus();
  }

  /** Writes the captions of the images: a mark on the chosen one, or each one's rank. */
  mark(captions) {
    this.status.hint("");
    for (const [position, figure] of $("stage").querySelectorAll("figure").entries()) {
      figure.querySelector("figcaption span").textContent = captions[position] ?? "";
      figure.classList.toggle("chosen", Boolean(captions[position]));
    }
  }

  vote(kind, label, { answers, reason }) {
    const screen = this.current;
    if (!screen) return;
    const uuid = newUuid();
    const seconds = this.visible ? this.stopwatch.seconds : null;
    this.past = [...this.past.slice(1 - BACK), { screen, uuid, answers }];
    this.answered.add(screen.assignment);
    this.current = null;
    this.label = label;
    this.outbox.add({
      uuid,
      path: "/api/votes",
      body: { uuid, assignment: screen.assignment, kind, answers: answers ?? null, reason: reason ?? null, seconds },
    });
    this.count();
    this.advance();
    this.refocus();
  }

  undo() {
    const uuid = newUuid();
    const last = this.past.pop();
    if (!last && this.total < 1) {
      this.status.remark("There is nothing to undo");
      return;
    }
    this.label = "Undone";
    this.outbox.add({ uuid, path: "/api/undo", body: { uuid, vote: last?.uuid ?? null } });
    this.count();
    if (!last) return; // it was answered before this page was opened; the server sends its screen
    this.answered.delete(last.screen.assignment);
    if (this.current) this.queue.unshift(this.current);
    this.current = null;
    this.show(last.screen, last.answers);
    this.refocus();
  }

  /** After an answer the prompt has the focus: screen readers read it, and one press of Tab leads to the answers. */
  refocus() {
    scrollTo(0, 0);
    if (!$("ask").hidden) $("prompt").focus({ preventScroll: true });
  }

  saved(entry, receipt) {
    this.progress.set({ done: receipt.done });
    this.count();
    const left = this.outbox.entries.length;
    this.status.saved(left, this.label);
    if (left === 0) this.refill({ first: entry.path === "/api/undo" && entry.body.vote === null });
  }

  refused(entry, error) {
    this.past = this.past.filter((each) => each.uuid !== entry.uuid);
    if (error.status !== 409) this.answered.delete(entry.body.assignment);
    this.status.refused(entry, error);
    const gone = entry.path === "/api/undo" || this.current?.assignment === entry.body.assignment;
    if (this.outbox.entries.length === 0) this.refill({ first: gone });
  }

  /** Screens that are answered, with those whose answers are not confirmed yet. */
  get total() {
    const ways = this.outbox.entries.map((entry) => (entry.path === "/api/undo" ? -1 : 1));
    return Math.max(0, ways.reduce((sum, each) => sum + each, this.progress.done));
  }

  count() {
    this.progress.show(this.total);
    $("undo").setAttribute("aria-disabled", String(this.total < 1));
  }
}

new Rater($("rater")).start();
