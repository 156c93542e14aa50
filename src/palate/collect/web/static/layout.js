// As large as the images can be: so many columns that all of them fit on the screen, if that leaves them large enough.

const SMALLEST = { 1: 240, 2: 160 }; // pixels of width; below, the page is scrolled instead
const SMALL = 140;
const TALLEST = 0.7; // of the window's height, where the page is scrolled
const CAPTION = 1.6; // rem, the height of the line above an image that has its number; as in rater.css
const BESIDE = 4; // rem, the width of a number and a rank beside an image

/**
 * Images keep to columns of one width. Their numbers stand above them, or to the left of them where they are in one
 * column and that leaves them larger.
 *
 * @param {{n: number, ratio: number, width: number, height: number, window: number, gap: number, caption: number,
 *   beside: number}} box `height` is what is left for the images, `window` what there is at all; `caption` is the height
 *   that a number takes above an image, `beside` the width that it takes on the left
 * @returns {{columns: number, cell: number, height: number, beside: boolean}} the width of an image, the height of them
 *   all, and whether their numbers stand beside them
 */
export function fit({ n, ratio, width, height, window = height, gap, caption, beside = Infinity }) {
  let best = { columns: 1, cell: 0, rows: n, beside: false };
  const attempt = (columns, above, left) => {
    const rows = Math.ceil(n / columns);
    const each = (height - gap * (rows - 1)) / rows - above;
    const cell = Math.min((width - 2 * left - gap * (columns - 1)) / columns, each * ratio);
    if (cell > best.cell + 1) best = { columns, cell, rows, beside: left > 0 };
  };
  if (caption && beside < width / 4) attempt(1, 0, beside);
  for (let columns = 1; columns <= n; columns += 1) attempt(columns, caption, 0);
  const smallest = Math.min(width, (SMALLEST[n] ?? SMALL) * Math.min(1, ratio));
  if (best.cell < smallest) {
    const columns = Math.max(1, Math.min(n, Math.floor((width + gap) / (smallest + gap))));
    const widest = (width - gap * (columns - 1)) / columns;
    const cell = Math.max(smallest, Math.min(widest, TALLEST * window * ratio));
    best = { columns, cell, rows: Math.ceil(n / columns), beside: false };
  }
  const cell = Math.floor(best.cell);
  const above = best.beside ? 0 : caption;
  const tall = Math.ceil(best.rows * (cell / ratio + above) + gap * (best.rows - 1));
  return { columns: best.columns, cell, height: tall, beside: best.beside };
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
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const caption = figures.length > 1 ? CAPTION * rem : 0; // a single image has no number
    const beside = Math.max(1, BESIDE * rem - parseFloat(style.paddingLeft));
    const gap = parseFloat(style.columnGap);
    const found = fit({ n: figures.length, ratio, width, height, window, gap, caption, beside });
    root.style.setProperty("--cell", `${found.cell}px`);
    root.style.setProperty("--ratio", String(ratio));
    root.style.setProperty("--columns", String(found.columns));
    root.style.setProperty("--span", `${found.columns * (found.cell + gap) - gap}px`);
    root.style.setProperty("--needed", `${found.height}px`);
    stage.dataset.columns = String(found.columns);
    stage.dataset.numbers = found.beside ? "beside" : "above";
    stage.classList.toggle("pinned", found.height < 0.45 * window);
  }
}
