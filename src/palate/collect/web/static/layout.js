// As large as the images can be: so many columns that all of them fit on the screen, if that leaves them large enough.

const SMALLEST = { 1: 240, 2: 160 }; // pixels of width; below, the page is scrolled instead
const SMALL = 140;
const TALLEST = 0.7; // of the window's height, where the page is scrolled

/**
 * @param {{n: number, ratio: number, width: number, height: number, window: number, gap: number, caption: number}} box
 *   `height` is what is left for the images, `window` what there is at all
 * @returns {{columns: number, cell: number, height: number}} the width of an image, and the height of them all
 */
export function fit({ n, ratio, width, height, window = height, gap, caption }) {
  let best = { columns: 1, cell: 0, rows: n };
  for (let columns = 1; columns <= n; columns += 1) {
    const rows = Math.ceil(n / columns);
    const each = (height - gap * (rows - 1)) / rows - caption;
    const cell = Math.min((width - gap * (columns - 1)) / columns, each * ratio);
    if (cell > best.cell + 1) best = { columns, cell, rows };
  }
  const smallest = Math.min(width, (SMALLEST[n] ?? SMALL) * Math.min(1, ratio));
  if (best.cell < smallest) {
    const columns = Math.max(1, Math.min(n, Math.floor((width + gap) / (smallest + gap))));
    const widest = (width - gap * (columns - 1)) / columns;
    const cell = Math.max(smallest, Math.min(widest, TALLEST * window * ratio));
    best = { columns, cell, rows: Math.ceil(n / columns) };
  }
  const cell = Math.floor(best.cell);
  return { columns: best.columns, cell, height: Math.ceil(best.rows * (cell / ratio + caption) + gap * (best.rows - 1)) };
}

/** Keeps the images of a stage fitted to the window. */
export class Layout {
  constructor(root, stage) {
    this.root = root;
    this.stage = stage;
    this.ratio = 1;
    const watch = new ResizeObserver(() => this.apply());
    for (const each of [document.documentElement, ...root.querySelectorAll(".top, .prompt, #questions, .tools, #notice")]) {
      watch.observe(each);
    }
  }

  apply() {
    const { root, stage, ratio } = this;
    if (!stage.offsetParent) return;
    const style = getComputedStyle(stage);
    const width = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const others = root.offsetHeight - stage.offsetHeight + parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    const window = document.documentElement.clientHeight;
    const height = window - others;
    const figures = stage.querySelectorAll("figure");
    const caption = figures[0].querySelector("figcaption").offsetHeight;
    const gap = parseFloat(style.columnGap);
    const found = fit({ n: figures.length, ratio, width, height, window, gap, caption });
    root.style.setProperty("--cell", `${found.cell}px`);
    root.style.setProperty("--ratio", String(ratio));
    root.style.setProperty("--columns", String(found.columns));
    root.style.setProperty("--span", `${found.columns * (found.cell + gap) - gap}px`);
    root.style.setProperty("--needed", `${found.height}px`);
    stage.dataset.columns = String(found.columns);
    stage.classList.toggle("pinned", found.height < 0.45 * window);
  }
}
