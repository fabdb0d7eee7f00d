/** Turned copies of an image on one canvas: the counterpart of `mien/detection/turned_copies.py`. */

import { quarterTurn, resize, round } from "./pixels.js";

/** @typedef {import("./types.js").Pixels} Pixels */

/** The turned copies of one image, side by side, and the way back from them. */
export class TurnedCopies {
  /** @type {{turns: number, start: number, end: number}[]} */
  #copies = [];
  #image;
  #width;
  #height;

  /**
   * @param {Pixels} image RGB.
   * @param {number} side The longer side of a copy, in pixels, if the image is not smaller.
   * @param {number[]} quarterTurns The turns counterclockwise of the copies, in ascending order.
   */
  constructor(image, side, quarterTurns) {
    const scale = Math.min(1, side / Math.max(image.width, image.height));
    this.#image = image;
    this.#width = Math.max(1, round(image.width * scale));
    this.#height = Math.max(1, round(image.height * scale));
    const turned = [resize(image, this.#width, this.#height)];
    while (turned.length <= 3) turned.push(quarterTurn(turned[turned.length - 1]));
    let end = 0;
    for (const turns of quarterTurns) this.#copies.push({ turns, start: end, end: (end += turned[turns].width) });
    const height = Math.max(...quarterTurns.map((turns) => turned[turns].height));
    /** @type {Pixels} */
    this.canvas = { width: end, height, channels: 3, data: new Uint8Array(end * height * 3) };
    for (const { turns, start } of this.#copies) {
      const copy = turned[turns];
      for (let row = 0; row < copy.height; row++) {
        const from = copy.data.subarray(row * copy.width * 3, (row + 1) * copy.width * 3);
        this.canvas.data.set(from, (row * end + start) * 3);
      }
    }
  }

  /**
   * @param {number[]} values Starts with x0, y0, x1, y1, in pixels of the canvas.
   * @returns {number} The quarter turns of the copy in which the square lies.
   */
  turnsOf(values) {
    return this.#copyOf(values).turns;
  }

  /**
   * Maps a square and landmarks in the canvas to the image.
   *
   * @param {number[]} values x0, y0, x1, y1 and landmarks x, y, in pixels of the canvas.
   */
  inImage(values) {
    const { turns, start } = this.#copyOf(values);
    const [width, height] = [this.#width, this.#height];
    const points = [];
    for (let i = 0; i < values.length; i += 2) {
      const [x, y] = [values[i] - start, values[i + 1]];
      points.push(...(turns === 1 ? [width - y, x] : turns === 2 ? [width - x, height - y] : [y, height - x]));
    }
    const [ax, ay, bx, by] = points;
    const square = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
    const scales = [this.#image.width / width, this.#image.height / height];
    return [...square, ...points.slice(4)].map((value, i) => value * scales[i % 2]);
  }

  /** @param {number[]} values */
  #copyOf(values) {
    const centre = (values[0] + values[2]) / 2;
    return this.#copies.find(({ end }) => centre < end) ?? this.#copies[this.#copies.length - 1];
  }
}
