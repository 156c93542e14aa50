// The small dialogs: reasons of a skip or a flag, the list of keys, the welcome.

import { $, anyOpenDialog, isTyping, keyOf } from "./tools.js";

/** Opens a dialog; a click outside of it closes it. */
export function open(dialog) {
  if (anyOpenDialog()) return;
  dialog.showModal();
  dialog.scrollTop = 0;
}

for (const dialog of document.querySelectorAll("dialog.sheet")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

/** Open instructions are closed by Escape, and by a click outside of them. */
const instructions = $("instructions");
addEventListener("click", (event) => {
  if (instructions && !instructions.contains(event.target)) instructions.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !instructions?.open) return;
  instructions.open = false;
  instructions.querySelector("summary").focus();
});

/**
 * A dialog that asks for a reason: a button or its number key gives it, with the rater's own remark, if any.
 * @param {string} kind `skip` or `flag`, the dialog's id
 * @param {function(string)} given
 */
export function askReason(kind, given) {
  const dialog = $(kind);
  const words = dialog.querySelector("input");
  const buttons = [...dialog.querySelectorAll("[data-reason]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const more = words.value.trim();
      dialog.close();
      given(more ? `${button.dataset.reason}: ${more}` : button.dataset.reason);
    });
  }
  dialog.addEventListener("close", () => (words.value = ""));
  dialog.addEventListener("keydown", (event) => {
    if (event.target === words && event.key === "Enter") {
      event.preventDefault(); // the dialog stays open: no reason is chosen yet
      buttons[0].focus();
    } else if (!isTyping(event) && !event.repeat) {
      buttons[Number(keyOf(event)) - 1]?.click();
    }
  });
  return () => open(dialog);
}

/**
 * Shows the instructions to a rater who has not seen them.
 * @param {import("./tools.js").Store} store
 * @param {function()} begun
 */
export function welcome(store, begun) {
  const dialog = $("welcome");
  if (!dialog) return;
  const text = dialog.querySelector(".text").textContent;
  if (store.get("read") === text) return;
  dialog.addEventListener("close", () => {
    store.set("read", text);
    begun();
  });
  open(dialog);
}
