// Zoom: all images of a screen are enlarged and moved together.

import { $, keyOf } from "./tools.js";
import { fit } from "./layout.js";

const CLOSEST = 12;
const STEP = 1.5;

export class Zoom {
  constructor() {
    this.dialog = $("zoom");
    this.panes = this.dialog.querySelector(".panes");
    this.pointers = new Map();
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("close", () => this.panes.replaceChildren());
    for (const button of this.dialog.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.act(button.dataset.zoom));
    }
    const panes = this.panes;
    panes.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    panes.addEventListener("pointerdown", (event) => this.down(event));
    panes.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      panes.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    panes.addEventListener("dblclick", (event) => this.by(this.scale > 1 ? 1 / this.scale : 3, this.at(event)));
    addEventListener("resize", () => this.dialog.open && this.arrange());
  }

  /** @param {import("./screens.js").Screen} screen */
  open(screen) {
    this.screen = screen;
    const panes = screen.images.map((image, position) => {
      const pane = document.createElement("div");
      pane.className = "pane";
      const near = image.cloneNode();
      const number = document.createElement("b");
      number.textContent = String(position + 1);
      number.setAttribute("aria-hidden", "true");
      pane.append(near, ...(screen.images.length > 1 ? [number] : []));
      return pane;
    });
    this.panes.replaceChildren(...panes);
    this.pointers.clear();
    this.dialog.showModal();
    this.arrange();
    this.act("reset");
  }

  arrange() {
    const { clientWidth: width, clientHeight: height } = this.panes;
    const n = this.screen.images.length;
    const { columns } = fit({ n, ratio: this.screen.ratio, width, height, gap: 4, caption: 0 });
    this.panes.style.setProperty("--columns", String(columns));
    this.panes.style.setProperty("--rows", String(Math.ceil(n / columns)));
    this.apply();
  }

  act(what) {
    if (what === "close") this.dialog.close();
    else if (what === "reset") this.by(0, { x: 0, y: 0 });
    else this.by(what === "in" ? STEP : 1 / STEP, { x: 0, y: 0 });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const what = { "+": "in", "=": "in", "-": "out", "−": "out", 0: "reset", Z: "close" }[keyOf(event)];
    if (by) this.shift(by[0] * 60, by[1] * 60);
    else if (what && !(what === "close" && event.repeat)) this.act(what);
    else return;
    event.preventDefault();
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.by(Math.exp(-event.deltaY * lines * 0.0022), this.at(event));
  }

  down(event) {
    const pane = event.target.closest(".pane");
    if (!pane) return;
    pane.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    const share = other ? 0.5 : 1; // the point between two fingers moves half as far as one of them
    this.shift((now.x - before.x) * share, (now.y - before.y) * share);
    if (other) {
      const apart = (a) => Math.hypot(a.x - other.x, a.y - other.y) || 1;
      const middle = { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2, target: event.target };
      this.by(apart(now) / apart(before), this.at(middle));
    }
  }

  /** The position of a pointer, from the middle of its pane. */
  at({ clientX, clientY, target }) {
    const box = (target.closest(".pane") ?? this.panes.firstElementChild).getBoundingClientRect();
    return { x: clientX - box.left - box.width / 2, y: clientY - box.top - box.height / 2 };
  }

  /** Zooms by a factor about a point, which does not move; a factor of 0 shows the whole images. */
  by(factor, point) {
    const before = factor ? this.scale : 1;
    this.scale = factor ? Math.max(1, Math.min(CLOSEST, this.scale * factor)) : 1;
    this.x = factor ? point.x - ((point.x - this.x) * this.scale) / before : 0;
    this.y = factor ? point.y - ((point.y - this.y) * this.scale) / before : 0;
    this.apply();
  }

  shift(x, y) {
    this.x += x;
    this.y += y;
    this.apply();
  }

  apply() {
    const pane = this.panes.firstElementChild;
    if (!pane || this.scale === undefined) return;
    const sizes = this.screen.ratios.map((ratio) => {
      const width = Math.min(pane.clientWidth, pane.clientHeight * ratio);
      return { width, height: width / ratio };
    });
    const widest = Math.max(...sizes.map(({ width }) => width));
    const tallest = Math.max(...sizes.map(({ height }) => height));
    const clamp = (value, size, available) => {
      const most = Math.max(0, (size * this.scale - available) / 2);
      return Math.max(-most, Math.min(most, value));
    };
    this.x = clamp(this.x, widest, pane.clientWidth);
    this.y = clamp(this.y, tallest, pane.clientHeight);
    for (const [position, image] of this.panes.querySelectorAll("img").entries()) {
      const { width, height } = sizes[position];
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
      image.classList.toggle("pixels", (width * this.scale) / this.screen.shown[position].width > 2.5);
    }
    this.dialog.querySelector("output").textContent = `${Math.round(this.scale * 100)}%`;
  }
}
