// The owner's page: shows the newest numbers every ten seconds, and changes who votes and who counts.

import { BASE, ask, Refused } from "./server.js";
import { morph } from "./morph.js";
import { $, isolated } from "./tools.js";

const EVERY = 10_000; // milliseconds

let paused = false;
let failing = false;

/** Shows a message, which screen readers read aloud; a message about an error looks different. */
function say(text, trouble = false) {
  $("say").textContent = text;
  $("say").classList.toggle("trouble", trouble);
}

/** Puts the newest numbers into the page; the element that has the focus keeps it. */
async function refresh() {
  try {
    const answer = await fetch(`${BASE}/owner`, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(page.querySelector('[role="alert"]')?.textContent ?? `status ${answer.status}`);
    const focus = document.activeElement;
    for (const part of document.querySelectorAll("[data-live]")) morph(part, page.getElementById(part.id));
    if (focus !== document.activeElement && focus?.isConnected) focus.focus({ preventScroll: true });
    if (failing) say("");
    failing = false;
    $("fresh").textContent = `As of ${new Date().toLocaleTimeString()}`;
  } catch (error) {
    if (!failing) say(`These numbers are no longer kept up to date: ${error.message}`, true);
    failing = true;
  }
}

/** Asks the server for a change; where it refuses, shows the reason. */
async function change(path, body, refused = (why) => say(why, true)) {
  try {
    return await ask(path, body);
  } catch (error) {
    refused(error instanceof Refused ? error.message : "The server does not answer; try again.");
    return null;
  }
}

/** The dialog of a new rater: first their name, then their link. */
function invite() {
  $("add").reset();
  $("add").hidden = false;
  $("new-link").hidden = true;
  $("refused").textContent = "";
  $("invite-title").textContent = "Invite a rater";
  $("invite").showModal();
  $("name").focus();
}

function show(name, link) {
  $("for").textContent = name;
  $("link").value = link;
  $("copied").textContent = "";
  $("invite-title").textContent = "A link for one person";
  $("add").hidden = true;
  $("new-link").hidden = false;
  if (!$("invite").open) $("invite").showModal();
  $("link").focus();
  $("link").select();
}

async function add(event) {
  event.preventDefault();
  const name = $("name").value.trim();
  const made = await change("/owner/api/raters", { name }, (why) => ($("refused").textContent = why));
  if (!made) return;
  show(name, made.link);
  await refresh();
}

async function renew(name) {
  $("sure-name").textContent = name;
  $("sure").returnValue = "no";
  $("sure").showModal();
  await new Promise((resolve) => $("sure").addEventListener("close", resolve, { once: true }));
  if ($("sure").returnValue !== "yes") return;
  const made = await change("/owner/api/raters/renew", { name });
  if (made) show(name, made.link);
}

async function quarantine(name, on) {
  if (!(await change("/owner/api/quarantine", { name, on }))) return;
  await refresh();
  say(on ? `The votes of ${isolated(name)} are no longer counted.` : `The votes of ${isolated(name)} are counted again.`);
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("link").value);
  } catch {
    $("link").select(); // without TLS there is no clipboard API; `execCommand` works there
    if (!document.execCommand("copy")) {
      $("copied").textContent = "This browser does not let the page copy; the link is selected: copy it with your keyboard.";
      return;
    }
  }
  $("copied").textContent = "The link is copied.";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button?.dataset.act === "quarantine") quarantine(button.dataset.name, button.dataset.on === "true");
  if (button?.dataset.act === "invite") invite();
  if (button?.dataset.act === "renew") renew(button.dataset.name);
});
$("add").addEventListener("submit", add);
$("copy").addEventListener("click", copy);
$("invite").addEventListener("close", () => ($("link").value = ""));
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) refresh();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) refresh();
});

async function keepFresh() {
  if (!paused && !document.hidden) await refresh();
  setTimeout(keepFresh, EVERY);
}

$("fresh").textContent = `As of ${new Date().toLocaleTimeString()}`;
setTimeout(keepFresh, EVERY);
