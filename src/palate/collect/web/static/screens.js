// Screens that are loaded ahead, so that the next one is shown at once, with all its images.

import { backoff } from "./server.js";
import { pause } from "./tools.js";

const TINY = 128; // pixels of width; smaller images are enlarged with sharp pixels, not blurred

/** The geometric mean, which favours neither wide nor tall images. */
const middle = (ratios) => Math.exp(ratios.reduce((sum, each) => sum + Math.log(each), 0) / ratios.length);

export class Screen {
  /** @param {{assignment: number, prompt: string, images: {src: string, width: number, height: number}[]}} data */
  constructor(data) {
    this.assignment = data.assignment;
    this.prompt = data.prompt;
    this.shown = data.images;
    this.ratios = data.images.map(({ width, height }) => width / height);
    this.mixed = new Set(this.ratios).size > 1;
    this.ratio = this.mixed ? middle(this.ratios) : this.ratios[0]; // of the frames, which are all the same
    this.failures = 0;
    this.wanted = true;
    this.failed = () => {};
    this.images = [];
    this.loaded = Promise.all(data.images.map((each, position) => this.load(each, position)));
  }

  /** Loads and decodes one image, and tries until that succeeds, as a connection may be lost for a while. */
  async load({ src, width, height }, position) {
    for (let attempt = 0; this.wanted; attempt += 1) {
      const image = new Image(width, height);
      image.alt = `image ${position + 1}`;
      image.draggable = false;
      image.classList.toggle("pixels", width <= TINY);
      image.src = src;
      try {
        await image.decode();
        this.images[position] = image;
        return;
      } catch {
        this.failures += 1;
        this.failed();
        await pause(backoff(attempt));
      }
    }
  }
}
