// The questions of a screen, and the answers so far.

import { isolated } from "./tools.js";

/** Whether the focus is on a button or link, which Enter would press. */
const isOnButton = () => document.activeElement.closest("button, summary, a") !== null;

const questionOf = (fieldset) => fieldset.querySelector("legend").firstChild.textContent.trim();

const listed = (words) => words.join(", ").replace(/, ([^,]*)$/, " and $1");

/** A question with one answer of several, each a button. */
class Choice {
  constructor(fieldset, changed) {
    this.fieldset = fieldset;
    this.name = fieldset.dataset.question;
    this.buttons = [...fieldset.querySelectorAll(".choice")];
    this.value = null;
    for (const button of this.buttons) button.addEventListener("click", () => changed(this, button));
  }

  /** @returns {boolean} whether the key has a meaning here */
  press(key) {
    const found = this.buttons.find((button) => button.getAttribute("aria-keyshortcuts").split(" ").includes(key));
    if (found) {
      if (isOnButton()) found.focus(); // else Enter would press the button that has the focus
      found.click();
    } else if (key === "ArrowLeft" || key === "ArrowRight") {
      this.step(key === "ArrowLeft" ? -1 : 1);
    }
    return found !== undefined || key.startsWith("Arrow");
  }

  /** A click on an image chooses it. */
  pick(position) {
    this.press(String(position + 1));
  }

  step(by) {
    const at = this.buttons.indexOf(document.activeElement);
    const to = at < 0 ? (by > 0 ? 0 : this.buttons.length - 1) : at + by;
    this.buttons[Math.max(0, Math.min(this.buttons.length - 1, to))].focus();
  }

  take(button) {
    this.set(JSON.parse(button.dataset.value));
  }

  set(value) {
    this.value = value;
    this.show();
  }

  show() {
    const { value } = this;
    for (const button of this.buttons) {
      if (!button.hasAttribute("aria-pressed")) continue;
      button.setAttribute("aria-pressed", String(value !== null && button.dataset.value === JSON.stringify(value)));
    }
  }

  /** A text that names what is not answered yet. */
  get open() {
    return `Still to answer: ${isolated(questionOf(this.fieldset))}`;
  }

  captions() {
    const at = { left: 0, right: 1 }[this.value] ?? this.value;
    return this.value === null ? [] : [0, 1, 2, 3, 4, 5, 6, 7, 8].map((position) => (position === at ? "✓" : ""));
  }
}

/** A question with a rank for each image: by clicks from the best to the worst, or by each image's list. */
class Ranking {
  constructor(fieldset, changed) {
    this.fieldset = fieldset;
    this.name = fieldset.dataset.question;
    this.lists = [...fieldset.querySelectorAll("select")];
    this.shared = fieldset.querySelector(".shared");
    this.ranks = this.lists.map(() => null);
    this.changed = changed;
    this.shared.addEventListener("click", () => this.share(this.shared.getAttribute("aria-pressed") !== "true"));
    fieldset.querySelector(".clear").addEventListener("click", () => this.put(this.lists.map(() => null)));
    for (const [position, list] of this.lists.entries()) this.listen(position, list);
  }

  /** A list that the mouse or a finger changed loses the focus, so that a number key means an image again, not a rank. */
  listen(position, list) {
    let pointed = false;
    list.addEventListener("pointerdown", () => (pointed = true));
    list.addEventListener("keydown", () => (pointed = false));
    list.addEventListener("change", () => {
      this.rank(position, Number(list.value) || null);
      if (pointed) list.blur();
    });
  }

  get value() {
    return this.ranks.includes(null) ? null : this.ranks;
  }

  get last() {
    return Math.max(0, ...this.ranks);
  }

  press(key) {
    if (key === "T") this.shared.click();
    else if (key === "Backspace") this.fieldset.querySelector(".clear").click();
    else if (/^[1-9]$/.test(key) && Number(key) <= this.ranks.length) {
      if (isOnButton()) this.fieldset.focus({ preventScroll: true });
      this.pick(Number(key) - 1);
    } else return false;
    return true;
  }

  /** Gives the image the next rank; or removes its rank, if it has one. */
  pick(position) {
    const together = this.shared.getAttribute("aria-pressed") === "true" && this.last > 0;
    const next = Math.min(this.ranks.length, this.last + (together ? 0 : 1));
    this.rank(position, this.ranks[position] === null ? next : null);
  }

  /** Ranks an image before, equal to or after another one, which is first put last if it has no rank. */
  place(position, side, other) {
    const ranks = this.ranks.map((rank, at) => (at === position ? null : rank));
    ranks[other] ??= ranks.length + 1;
    ranks[position] = ranks[other] + { better: -0.5, tie: 0, worse: 0.5 }[side];
    const order = [...new Set(ranks)].filter((rank) => rank !== null).sort((a, b) => a - b);
    this.put(ranks.map((rank) => (rank === null ? null : 1 + order.indexOf(rank))));
  }

  rank(position, rank) {
    this.put(this.ranks.map((each, at) => (at === position ? rank : each)));
  }

  put(ranks) {
    this.changed(this, ranks);
  }

  take(ranks) {
    this.set(ranks);
  }

  get open() {
    const images = this.ranks.flatMap((rank, position) => (rank === null ? [`image ${position + 1}`] : []));
    return `Still to rank: ${listed(images)}`;
  }

  share(on) {
    this.shared.setAttribute("aria-pressed", String(on));
  }

  set(ranks) {
    this.ranks = ranks ?? this.lists.map(() => null);
    this.share(false);
    this.show();
  }

  show() {
    for (const [position, list] of this.lists.entries()) list.value = String(this.ranks[position] ?? "");
  }

  captions() {
    return this.ranks.map((rank) => (rank === null ? "" : `rank ${rank}`));
  }
}

/** All questions; one of them gets the keys and the clicks on images. */
export class Questions {
  /**
   * @param {HTMLFormElement} form
   * @param {string} task
   * @param {{complete: function(string), locked: function(): boolean, marked: function(string[]), missing: function(string)}} callbacks
   */
  constructor(form, task, callbacks) {
    this.callbacks = callbacks;
    const Kind = task === "ranking" ? Ranking : Choice;
    const fieldsets = [...form.querySelectorAll("fieldset")];
    this.all = fieldsets.map((each) => new Kind(each, (field, given) => this.changed(field, given)));
    this.atOnce = this.all.length === 1 && task !== "ranking";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    for (const field of this.all) field.fieldset.addEventListener("focusin", () => this.turnTo(field));
    this.restore(null);
  }

  /** @param {Element|(number|null)[]} given the button that was pressed, or the new ranks */
  changed(field, given) {
    if (this.callbacks.locked()) {
      field.show(); // a list shows what it was set to, even where no answer is taken: show the true state again
      return;
    }
    field.take(given);
    if (this.atOnce) {
      this.callbacks.complete(given.querySelector("span").firstChild.textContent.trim());
      return;
    }
    this.turnTo(field);
    const next = this.all.find((each) => each.value === null);
    if (field.value !== null && next) this.turnTo(next);
    this.mark();
  }

  turnTo(field) {
    this.active = field;
    for (const each of this.all) each.fieldset.classList.toggle("active", each === field && this.all.length > 1);
    this.mark();
  }

  mark() {
    this.callbacks.marked(this.active.captions());
  }

  press(key) {
    if (this.callbacks.locked()) return false;
    const by = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (by && this.all.length > 1) {
      const to = this.all.indexOf(this.active) + by;
      this.turnTo(this.all[Math.max(0, Math.min(this.all.length - 1, to))]);
      this.active.fieldset.scrollIntoView({ block: "nearest" });
      return true;
    }
    return by ? false : this.active.press(key);
  }

  pick(position) {
    if (!this.callbacks.locked()) this.active.pick(position);
  }

  place(position, side, other) {
    if (!this.callbacks.locked()) this.active.place(position, side, other);
  }

  /** Enter, or the button: sends a complete answer, else moves the focus to the question that is not answered. */
  submit() {
    if (this.callbacks.locked()) return;
    const missing = this.all.find((field) => field.value === null);
    if (!missing) {
      this.callbacks.complete("");
      return;
    }
    this.turnTo(missing);
    missing.fieldset.focus(); // not a button or list in it, which a second Enter or a number key would change
    this.callbacks.missing(missing.open);
  }

  get answers() {
    return Object.fromEntries(this.all.map((field) => [field.name, field.value]));
  }

  /** @param {object|null} answers the earlier answers of a screen that is shown again to be changed */
  restore(answers) {
    for (const field of this.all) field.set(this.atOnce ? null : (answers?.[field.name] ?? null));
    this.turnTo(this.all[0]);
  }
}
