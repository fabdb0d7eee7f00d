/** A frame of a video on a canvas, from which parts are read. Reading a frame itself several times takes longer. */

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */

export class FrameCanvas {
  #frame = newContext(1, 1);
  #view = newContext(1, 1);

  get width() {
    return this.#frame.canvas.width;
  }

  get height() {
    return this.#frame.canvas.height;
  }

  /**
   * Replaces the frame.
   *
   * @param {ImageBitmap} frame
   */
  load(frame) {
    if (frame.width !== this.width || frame.height !== this.height) this.#frame = newContext(frame.width, frame.height);
    this.#frame.drawImage(frame, 0, 0);
  }

  /**
   * Reads a part of the frame as RGB.
   *
   * @param {Box} [box] In whole pixels within the frame; all of it by default.
   * @returns {Pixels}
   */
  pixels([x0, y0, x1, y1] = [0, 0, this.width, this.height]) {
    return toRgb(this.#frame.getImageData(x0, y0, x1 - x0, y1 - y0));
  }

  /**
   * Reads a square of the frame as RGB, turned upright and scaled by the browser. It is black outside the frame.
   *
   * @param {{middle: number[], side: number, angleDeg: number}} square The middle and the side in pixels of the frame, and
   *   the degrees counterclockwise by which it is turned.
   * @param {number} size Pixels of the result.
   * @returns {Pixels}
   */
  view({ middle: [x, y], side, angleDeg }, size) {
    if (this.#view.canvas.width !== size) this.#view = newContext(size, size);
    const context = this.#view;
    context.resetTransform();
    context.fillStyle = "black";
    context.fillRect(0, 0, size, size);
    context.imageSmoothingQuality = "medium";
    context.translate(size / 2, size / 2);
    context.rotate((-angleDeg * Math.PI) / 180);
    context.scale(size / side, size / side);
    context.drawImage(this.#frame.canvas, -x, -y);
    return toRgb(context.getImageData(0, 0, size, size));
  }
}

/**
 * @param {number} width
 * @param {number} height
 */
function newContext(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true });
  return /** @type {OffscreenCanvasRenderingContext2D} */ (context);
}

/**
 * @param {ImageData} image
 * @returns {Pixels}
 */
function toRgb({ width, height, data: rgba }) {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { width, height, channels: 3, data };
}
