// The layout of a screen's images: the number of columns that shows them largest and all at once, without scrolling, if
// they are large enough then.

const SMALLEST = { 1: 240, 2: 160 }; // smallest width in pixels, by the number of images; else the page is scrolled
const SMALL = 140;
const TALLEST = 0.7; // of the window's height, where the page is scrolled
const CAPTION = 1.6; // rem, the height of the line with an image's number above it; as in rater.css
const BESIDE = 4; // rem, the width of a number and a rank at the left of an image

/**
 * All columns have the same width. The numbers are above the images, or at their left where there is one column and the
 * images are larger that way.
 *
 * @param {{n: number, ratio: number, width: number, height: number, window: number, gap: number, caption: number,
 *   beside: number}} box `height` is what is left for the images, `window` the whole height; `caption` is the height
 *   that a number takes above an image, `beside` the width that it takes at the left
 * @returns {{columns: number, cell: number, height: number, beside: boolean}} the width of an image, the height of
 *   all of them, and whether the numbers are at their left
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

/** Fits the images of a stage to the window, and again when its size changes. */
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
