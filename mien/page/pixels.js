/**
 * Decoding, scaling and cropping exactly as Pillow does it. The browser's own scaling would give the networks other
 * pixels than Python does.
 */

import { PageError } from "./errors.js";
import { upright } from "./orientation.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */

const PRECISION_BITS = 22; // 32 - 8 bits of a value - 2 bits of headroom, as in Pillow's Resample.c

const MAX_TURNED_SIDE = 224; // pixels; larger faces are reduced before they are turned
const MAX_PIXELS = 179e6; // Pillow's limit
const BAND_PIXELS = 4e6; // pixels per drawing step: on an iPhone, a canvas above 16.7 million pixels is black

/**
 * Rounds halves to even, like Python.
 *
 * @param {number} value
 */
export function round(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Decodes a picture file, upright by its EXIF orientation, without colour conversion.
 *
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<ImageBitmap>}
 */
export async function decode(file, name) {
  if (!file.size) throw new PageError(`${name} is empty; choose another picture.`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new PageError(
      `${name} cannot be read as a picture: it is damaged, too large, or of a format unknown to the browser.`,
    );
  }
  if (bitmap.width * bitmap.height <= MAX_PIXELS) return upright(bitmap, file);
  bitmap.close();
  throw new PageError(`${name} has more than ${MAX_PIXELS / 1e6} million pixels; make it smaller.`);
}

/**
 * Reads a bitmap as 8-bit RGB. Transparent pixels become white.
 *
 * @param {ImageBitmap} bitmap
 * @returns {Pixels}
 */
export function readPixels(bitmap) {
  const { width, height } = bitmap;
  const rows = Math.min(height, Math.max(1, Math.floor(BAND_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
  const data = new Uint8Array(width * height * 3);
  for (let top = 0, to = 0; top < height; top += rows) {
    context.fillStyle = "white";
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    const rgba = context.getImageData(0, 0, width, Math.min(rows, height - top)).data;
    for (let from = 0; from < rgba.length; from += 4, to += 3) {
      data[to] = rgba[from];
      data[to + 1] = rgba[from + 1];
      data[to + 2] = rgba[from + 2];
    }
  }
  return { width, height, channels: 3, data };
}

/**
 * Scales an image like Pillow's `resize` with its bilinear filter, whose support grows when it downscales. Rows and
 * columns are scaled one after the other, with rounding to 8 bits in between.
 *
 * @param {Pixels} source
 * @param {number} width
 * @param {number} height
 * @param {Box} [box] The part of the source to scale, in whole pixels; the whole source by default.
 * @returns {Pixels}
 */
export function resize(source, width, height, box = [0, 0, source.width, source.height]) {
  const horizontal = filterWeights(source.width, box[0], box[2], width);
  const vertical = filterWeights(source.height, box[1], box[3], height);
  // Pillow 13 starts with the direction that leaves less work for the other one. Older versions always start with the
  // rows, which sometimes gives a value that differs by one.
  const removedRows = source.height - height;
  if (removedRows > 0 && removedRows > 2 * (source.width - width)) {
    return resizeRows(resizeColumns(source, vertical), horizontal, 0, height);
  }
  const first = vertical.starts[0];
  const end = vertical.starts[height - 1] + vertical.counts[height - 1];
  const resizedRows = resizeRows(source, horizontal, first, end);
  for (let i = 0; i < height; i++) vertical.starts[i] -= first;
  return resizeColumns(resizedRows, vertical);
}

/**
 * Scales each row to another width.
 *
 * @param {Pixels} source
 * @param {Weights} weights
 * @param {number} first The first row.
 * @param {number} end The row after the last one.
 * @returns {Pixels}
 */
function resizeRows({ width, channels, data }, weights, first, end) {
  const columns = weights.starts.length;
  const result = new Uint8Array(columns * (end - first) * channels);
  for (let row = first, to = 0; row < end; row++) {
    for (let column = 0; column < columns; column++) {
      const start = (row * width + weights.starts[column]) * channels;
      for (let channel = 0; channel < channels; channel++, to++) {
        result[to] = weightedMean(data, start + channel, channels, weights, column);
      }
    }
  }
  return { width: columns, height: end - first, channels, data: result };
}

/**
 * Scales each column to another height.
 *
 * @param {Pixels} source
 * @param {Weights} weights
 * @returns {Pixels}
 */
function resizeColumns({ width, channels, data }, weights) {
  const rows = weights.starts.length;
  const stride = width * channels;
  const result = new Uint8Array(stride * rows);
  for (let row = 0, to = 0; row < rows; row++) {
    const start = weights.starts[row] * stride;
    for (let column = 0; column < stride; column++, to++) {
      result[to] = weightedMean(data, start + column, stride, weights, row);
    }
  }
  return { width, height: rows, channels, data: result };
}

/**
 * Crops the square around a box, in gray by the luma weights of ITU-R 601. It is the crop of `mien.preprocess`, except
 * that faces of more than 4,096 pixels are not reduced first.
 *
 * @param {Pixels} image RGB.
 * @param {Box} box It may extend beyond the image, whose border pixels are repeated there.
 * @param {number} [angleDeg] Degrees counterclockwise by which the square is turned around its centre.
 * @returns {Pixels}
 */
export function cropGray(image, [x0, y0, x1, y1], angleDeg = 0) {
  if (angleDeg) {
    const half = Math.max(x1 - x0, y1 - y0) / 2;
    const [x, y, wide] = [(x0 + x1) / 2, (y0 + y1) / 2, half * 1.5];
    const surroundings = cropGray(image, [x - wide, y - wide, x + wide, y + wide]);
    return cropTurned(surroundings, { side: 2 * half, angleDeg, maxSide: MAX_TURNED_SIDE });
  }
  const side = Math.max(1, round(Math.max(x1 - x0, y1 - y0)));
  const left = round((x0 + x1 - side) / 2);
  const top = round((y0 + y1 - side) / 2);
  const data = new Uint8Array(side * side);
  for (let row = 0, to = 0; row < side; row++) {
    const y = Math.min(Math.max(top + row, 0), image.height - 1);
    for (let column = 0; column < side; column++, to++) {
      const x = Math.min(Math.max(left + column, 0), image.width - 1);
      const from = (y * image.width + x) * 3;
      const [red, green, blue] = [image.data[from], image.data[from + 1], image.data[from + 2]];
      data[to] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    }
  }
  return { width: side, height: side, channels: 1, data };
}

/**
 * Crops a rectangle.
 *
 * @param {Pixels} image
 * @param {Box} box It may extend beyond the image; its edges are rounded.
 * @param {boolean} repeat Whether the pixels at the image's border are repeated outside it; else it is black there.
 * @returns {Pixels}
 */
export function crop(image, box, repeat) {
  const [left, top, right, bottom] = box.map(round);
  const { channels } = image;
  const [width, height] = [Math.max(1, right - left), Math.max(1, bottom - top)];
  const data = new Uint8Array(width * height * channels);
  for (let row = 0, to = 0; row < height; row++) {
    const y = Math.min(Math.max(top + row, 0), image.height - 1);
    for (let column = 0; column < width; column++, to += channels) {
      const x = Math.min(Math.max(left + column, 0), image.width - 1);
      if (!repeat && (x !== left + column || y !== top + row)) continue;
      const from = (y * image.width + x) * channels;
      for (let channel = 0; channel < channels; channel++) data[to + channel] = image.data[from + channel];
    }
  }
  return { width, height, channels, data };
}

/**
 * Turns an image around its centre like Pillow's `rotate` with its bilinear filter; the corners become black.
 *
 * @param {Pixels} image
 * @param {number} angleDeg Degrees counterclockwise.
 * @returns {Pixels}
 */
export function rotate(image, angleDeg) {
  const { width, height, channels } = image;
  const [cos, sin] = [Math.cos((angleDeg * Math.PI) / 180), Math.sin((angleDeg * Math.PI) / 180)];
  const data = new Uint8Array(image.data.length);
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++, to += channels) {
      const [dx, dy] = [column + 0.5 - width / 2, row + 0.5 - height / 2];
      const x = width / 2 + dx * cos - dy * sin;
      const y = height / 2 + dx * sin + dy * cos;
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      const [left, top] = [Math.floor(x - 0.5), Math.floor(y - 0.5)];
      const [fx, fy] = [x - 0.5 - left, y - 0.5 - top];
      const columns = [Math.max(left, 0), Math.min(left + 1, width - 1)];
      const rows = [Math.max(top, 0) * width, Math.min(top + 1, height - 1) * width];
      for (let channel = 0; channel < channels; channel++) {
        /** @type {(i: number, j: number) => number} */
        const at = (i, j) => image.data[(rows[j] + columns[i]) * channels + channel];
        const upper = at(0, 0) + (at(1, 0) - at(0, 0)) * fx;
        const lower = at(0, 1) + (at(1, 1) - at(0, 1)) * fx;
        data[to + channel] = Math.floor(upper + (lower - upper) * fy + 0.5);
      }
    }
  }
  return { width, height, channels, data };
}

/**
 * Turns an image by a quarter counterclockwise.
 *
 * @param {Pixels} image
 * @returns {Pixels}
 */
export function quarterTurn({ width, height, channels, data }) {
  const turned = new Uint8Array(data.length);
  for (let row = 0, to = 0; row < width; row++) {
    for (let column = 0; column < height; column++, to += channels) {
      const from = (column * width + width - 1 - row) * channels;
      for (let channel = 0; channel < channels; channel++) turned[to + channel] = data[from + channel];
    }
  }
  return { width: height, height: width, channels, data: turned };
}

/**
 * Turns the square in the middle of an image upright, like `mien.preprocess.crop_turned`.
 *
 * @param {Pixels} surroundings A square at least `side` times the square root of 2 wide.
 * @param {{side: number, angleDeg: number, maxSide: number}} options The side of the square, in pixels; degrees
 *   counterclockwise; and the longest side of the result.
 * @returns {Pixels}
 */
export function cropTurned(surroundings, { side, angleDeg, maxSide }) {
  const factor = Math.max(1, Math.ceil(side / maxSide));
  const size = Math.max(1, round(surroundings.width / factor));
  const scaled = factor > 1 ? resize(surroundings, size, size) : surroundings;
  const turned = rotate(scaled, angleDeg);
  const half = side / factor / 2;
  return crop(turned, [size / 2 - half, size / 2 - half, size / 2 + half, size / 2 + half], true);
}

/**
 * @typedef {object} Weights For each output pixel: the first input pixel, how many there are, and their weights.
 * @property {Int32Array} starts
 * @property {Int32Array} counts
 * @property {Int32Array} values `stride` weights per output pixel, in units of 2 ** -PRECISION_BITS.
 * @property {number} stride
 */

/**
 * Computes the weights of the triangle filter, like `precompute_coeffs` and `normalize_coeffs_8bpc` in Pillow.
 *
 * @param {number} length Length of the input.
 * @param {number} from Start of the part of the input to scale.
 * @param {number} to End of that part.
 * @param {number} size Length of the output.
 * @returns {Weights}
 */
function filterWeights(length, from, to, size) {
  const scale = (to - from) / size;
  const support = Math.max(scale, 1);
  const stride = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(size);
  const counts = new Int32Array(size);
  const values = new Int32Array(size * stride);
  const row = new Float64Array(stride);
  for (let i = 0; i < size; i++) {
    const centre = from + (i + 0.5) * scale;
    starts[i] = Math.max(0, Math.trunc(centre - support + 0.5));
    counts[i] = Math.min(length, Math.trunc(centre + support + 0.5)) - starts[i];
    let sum = 0;
    for (let j = 0; j < counts[i]; j++) {
      const distance = Math.abs((j + starts[i] - centre + 0.5) / support);
      row[j] = distance < 1 ? 1 - distance : 0;
      sum += row[j];
    }
    for (let j = 0; j < counts[i]; j++) {
      values[i * stride + j] = Math.trunc(0.5 + (row[j] / sum) * 2 ** PRECISION_BITS);
    }
  }
  return { starts, counts, values, stride };
}

/**
 * Returns the value of one output pixel.
 *
 * @param {Uint8Array} data
 * @param {number} start Index of the first input value.
 * @param {number} step From one input value to the next.
 * @param {Weights} weights
 * @param {number} i Index of the output pixel.
 */
function weightedMean(data, start, step, weights, i) {
  let sum = 1 << (PRECISION_BITS - 1);
  for (let j = 0, from = start, at = i * weights.stride; j < weights.counts[i]; j++, from += step, at++) {
    sum += data[from] * weights.values[at];
  }
  return Math.min(sum >> PRECISION_BITS, 255);
}
