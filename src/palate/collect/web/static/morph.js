// Makes one part of the page like another and changes only what differs: focus, selection and scroll position are kept.

const KEPT = new Set(["open"]); // attributes that the reader sets, not the server

/**
 * @param {Element} old in the page
 * @param {Element} fresh what it must become; elements with the same `data-key` are the same element, in any order
 */
export function morph(old, fresh) {
  attributes(old, fresh);
  const keyed = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = old.firstChild;
  for (const next of fresh.childNodes) {
    const mine = keyOf(next) ? keyed.get(keyOf(next)) : at;
    if (!mine || !alike(mine, next)) {
      old.insertBefore(document.importNode(next, true), at);
      continue;
    }
    if (mine === at) at = at.nextSibling;
    else old.insertBefore(mine, at);
    if (mine.nodeType === Node.ELEMENT_NODE) morph(mine, next);
    else if (mine.data !== next.data) mine.data = next.data;
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

const keyOf = (node) => node.dataset?.key;

const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

function attributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !KEPT.has(name)) old.setAttribute(name, value);
  }
}
