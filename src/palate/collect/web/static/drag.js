// Ranking by dragging one image onto another. Keys, clicks and lists can do the same.

const FAR = 8; // pixels that a mouse moves before a drag begins
const HOLD = 350; // milliseconds that a finger rests before a drag begins; a finger that moves earlier scrolls the page
const EDGE = 56; // pixels from the window's edges where a drag scrolls the page
const SPEED = 6; // pixels a frame
const SAYS = { better: "better than", tie: "ties with", worse: "worse than" };

export class Drag {
  /**
   * @param {HTMLElement} stage
   * @param {function(number, "better"|"tie"|"worse", number)} dropped called with the image, its relation, and the other image
   */
  constructor(stage, dropped) {
    this.stage = stage;
    this.dropped = dropped;
    this.held = null; // {figure, id, timer, x, y} from the press on; with `ghost` once it is a drag
    this.moved = false;
    stage.addEventListener("pointerdown", (event) => this.down(event));
    addEventListener("pointermove", (event) => this.move(event));
    addEventListener("pointerup", (event) => this.up(event));
    addEventListener("pointercancel", () => this.cancel());
    addEventListener("keydown", (event) => event.key === "Escape" && this.cancel());
    // A drag neither scrolls nor opens a menu, and its end is not a click.
    stage.addEventListener("touchmove", (event) => this.held?.ghost && event.preventDefault(), { passive: false });
    stage.addEventListener("contextmenu", (event) => this.held?.ghost && event.preventDefault());
    stage.addEventListener("click", (event) => this.moved && event.stopPropagation(), true);
  }

  down(event) {
    if (this.held) this.cancel(); // a second finger
    this.moved = false;
    const figure = event.target.closest("figure");
    if (!figure?.querySelector("img") || !event.isPrimary || event.button !== 0) return;
    this.held = { figure, id: event.pointerId, x: event.clientX, y: event.clientY };
    if (event.pointerType === "touch") this.held.timer = setTimeout(() => this.lift(), HOLD);
  }

  /** Begins the drag. */
  lift() {
    const { held } = this;
    held.ghost = document.createElement("div");
    held.ghost.className = "ghost";
    held.ghost.append(held.figure.querySelector("img").cloneNode(), document.createElement("span"));
    document.body.append(held.ghost);
    held.figure.classList.add("lifted");
    this.moved = true;
    this.follow(held.x, held.y);
    this.scroll();
  }

  /** Scrolls for as long as the pointer is near an edge. */
  scroll() {
    if (!this.held?.ghost) return;
    const { x, y } = this.held;
    const by = Number(y > innerHeight - EDGE) - Number(y < EDGE);
    if (by) {
      scrollBy({ top: by * SPEED, behavior: "instant" });
      this.follow(x, y);
    }
    requestAnimationFrame(() => this.scroll());
  }

  move(event) {
    const { held } = this;
    if (!held || event.pointerId !== held.id) return;
    if (!held.ghost) {
      if (Math.hypot(event.clientX - held.x, event.clientY - held.y) < FAR) return;
      if (held.timer) this.cancel();
      else this.lift();
    }
    if (this.held) this.follow(event.clientX, event.clientY);
  }

  follow(x, y) {
    const { ghost } = Object.assign(this.held, { x, y });
    const over = this.over(x, y);
    ghost.style.transform = `translate(${x}px, ${y}px)`;
    ghost.lastChild.textContent = over ? `${SAYS[over.side]} image ${over.position + 1}` : "";
    this.mark(over);
  }

  /** The other image under a pointer, and the part of it: the left third is better, the middle a tie, the right worse. */
  over(x, y) {
    const figure = document.elementFromPoint(x, y)?.closest("#stage figure");
    if (!figure || figure === this.held.figure) return null;
    const box = figure.getBoundingClientRect();
    const share = (x - box.left) / box.width;
    const side = share < 1 / 3 ? "better" : share > 2 / 3 ? "worse" : "tie";
    return { figure, side, position: Number(figure.dataset.position) };
  }

  mark(over) {
    for (const figure of this.stage.querySelectorAll("figure")) {
      if (over?.figure === figure) figure.dataset.drop = over.side;
      else delete figure.dataset.drop;
    }
  }

  up(event) {
    const { held } = this;
    if (!held || event.pointerId !== held.id) return;
    const over = held.ghost && this.over(event.clientX, event.clientY);
    this.cancel();
    if (over) this.dropped(Number(held.figure.dataset.position), over.side, over.position);
  }

  cancel() {
    if (!this.held) return;
    clearTimeout(this.held.timer);
    this.held.ghost?.remove();
    this.held.figure.classList.remove("lifted");
    this.held = null;
    this.mark(null);
  }
}
