"""Scripts that check the accessibility of a page."""

from __future__ import annotations

CONTRASTS = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const parse = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
};
const over = (top, below, share) => top.slice(0, 3).map((part, i) => part * share + below[i] * (1 - share));
const ground = (element) => {
  const chain = []; for (let e = element; e; e = e.parentElement) chain.unshift(e);
  let colour = [255, 255, 255];
  for (const e of chain) { const c = parse(getComputedStyle(e).backgroundColor); colour = over(c, colour, c[3]); }
  return colour;
};
const light = (colour) => {
  const [r, g, b] = colour.map((p) => p / 255).map((p) => p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
const open = document.querySelector('dialog[open]') ?? document.body;
for (const element of open.querySelectorAll('*')) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility({opacityProperty: true})) continue;
  if (element.closest('[aria-disabled=true], noscript, option')) continue;
  const below = ground(element), style = getComputedStyle(element), c = parse(style.color);
  let share = c[3]; for (let e = element; e; e = e.parentElement) share *= Number(getComputedStyle(e).opacity);
  const [a, b] = [light(over(c, below, share)), light(below)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return found;
"""
"""Texts in sight whose contrast is under 4.5."""

SMALL = """
const open = document.querySelector('dialog[open]') ?? document.body;
return [...open.querySelectorAll('button, select, summary, input, textarea, a')].filter((e) => e.checkVisibility())
  .map((e) => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width < 44 || r.height < 44)
  .map(([e, r]) => `${e.id || e.textContent.trim()}: ${r.width.toFixed(0)} x ${r.height.toFixed(0)}`);
"""
"""Targets under 44 pixels."""

RING = """
const e = document.activeElement, s = getComputedStyle(e);
return [e.id || e.textContent.trim().slice(0, 20), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2];
"""
"""What has the focus, and whether one sees it."""

OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""Pixels by which the page is too wide."""

CUT = """
return [...document.querySelectorAll('button, legend, label')].filter((e) => e.checkVisibility())
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
  .map((e) => e.textContent.trim().slice(0, 40));
"""
"""Words that do not fit where they stand."""
