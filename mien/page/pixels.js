/**
 * Pictures as Pillow handles them, to the bit: the browser's own scaling would give the networks other pixels than
 * Python does.
 */

import { upright } from "./orientation.js";
import { Problem } from "./problem.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */

const PRECISION_BITS = 22; // 32 - 8 bits of a value - 2 of headroom, as in Pillow's Resample.c

const MOST_PIXELS = 179e6; // as many as Pillow allows
const BAND_PIXELS = 4e6; // drawn at once: an iPhone's canvas of more than 16.7 million pixels is black

/**
 * Rounds as Python does: halves to the even neighbour.
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
 * A picture file, upright as its EXIF says, with the values that are in the file.
 *
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<ImageBitmap>}
 */
export async function decode(file, name) {
  if (!file.size) throw new Problem(`${name} is empty; choose another picture.`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Problem(
      `${name} cannot be read as a picture: it is damaged, too large, or in a format that this browser does not know.`,
    );
  }
  if (bitmap.width * bitmap.height <= MOST_PIXELS) return upright(bitmap, file);
  bitmap.close();
  throw new Problem(`${name} has more than the ${MOST_PIXELS / 1e6} million pixels allowed; make it smaller.`);
}

/**
 * A picture or a frame as upright 8-bit RGB; what is transparent becomes white.
 *
 * @param {ImageBitmap} bitmap
 * @returns {Pixels}
 */
export function read(bitmap) {
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
 * Pillow's `resize` with its bilinear filter, which widens with the reduction: along the rows and down the columns,
 * rounded to 8 bits between.
 *
 * @param {Pixels} source
 * @param {number} width
 * @param {number} height
 * @param {Box} [box] The part of the source to show, whole pixels; all of it when left out.
 * @returns {Pixels}
 */
export function resize(source, width, height, box = [0, 0, source.width, source.height]) {
  const along = weights(source.width, box[0], box[2], width);
  const down = weights(source.height, box[1], box[3], height);
  // Pillow 13 begins with the direction that leaves the other less to do; older ones always begin along the rows, which
  // is another value by one now and then.
  const less = source.height - height;
  if (less > 0 && less > 2 * (source.width - width)) return alongRows(downColumns(source, down), along, 0, height);
  const first = down.starts[0];
  const last = down.starts[height - 1] + down.counts[height - 1];
  const narrow = alongRows(source, along, first, last);
  for (let i = 0; i < height; i++) down.starts[i] -= first;
  return downColumns(narrow, down);
}

/**
 * @param {Pixels} source
 * @param {Weights} by
 * @param {number} first Row to begin with.
 * @param {number} last Row to end before.
 * @returns {Pixels}
 */
function alongRows({ width, channels, data }, by, first, last) {
  const columns = by.starts.length;
  const narrow = new Uint8Array(columns * (last - first) * channels);
  for (let row = first, to = 0; row < last; row++) {
    for (let column = 0; column < columns; column++) {
      const start = (row * width + by.starts[column]) * channels;
      for (let channel = 0; channel < channels; channel++, to++) {
        narrow[to] = weighted(data, start + channel, channels, by, column);
      }
    }
  }
  return { width: columns, height: last - first, channels, data: narrow };
}

/**
 * @param {Pixels} source
 * @param {Weights} by
 * @returns {Pixels}
 */
function downColumns({ width, channels, data }, by) {
  const rows = by.starts.length;
  const stride = width * channels;
  const low = new Uint8Array(stride * rows);
  for (let row = 0, to = 0; row < rows; row++) {
    const start = by.starts[row] * stride;
    for (let column = 0; column < stride; column++, to++) low[to] = weighted(data, start + column, stride, by, row);
  }
  return { width, height: rows, channels, data: low };
}

/**
 * Cuts the square around a box out of a picture, in gray by the luma weights of ITU-R 601: see `mien.preprocess.crop`,
 * but that a face of more than 4,096 pixels is not reduced first.
 *
 * @param {Pixels} picture RGB.
 * @param {Box} box It may reach over the picture's edge, which is repeated there.
 * @returns {Pixels}
 */
export function cropGray(picture, [x0, y0, x1, y1]) {
  const side = Math.max(1, round(Math.max(x1 - x0, y1 - y0)));
  const left = round((x0 + x1 - side) / 2);
  const top = round((y0 + y1 - side) / 2);
  const data = new Uint8Array(side * side);
  for (let row = 0, to = 0; row < side; row++) {
    const y = Math.min(Math.max(top + row, 0), picture.height - 1);
    for (let column = 0; column < side; column++, to++) {
      const x = Math.min(Math.max(left + column, 0), picture.width - 1);
      const from = (y * picture.width + x) * 3;
      const [red, green, blue] = [picture.data[from], picture.data[from + 1], picture.data[from + 2]];
      data[to] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    }
  }
  return { width: side, height: side, channels: 1, data };
}

/**
 * @typedef {object} Weights For each output pixel: the first input pixel, how many, and their weights.
 * @property {Int32Array} starts
 * @property {Int32Array} counts
 * @property {Int32Array} values `most` for each output pixel, in units of 2 ** -PRECISION_BITS.
 * @property {number} most
 */

/**
 * Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc` for the triangle filter.
 *
 * @param {number} length Of the input.
 * @param {number} from Where the shown part of it begins.
 * @param {number} to Where it ends.
 * @param {number} size Of the output.
 * @returns {Weights}
 */
function weights(length, from, to, size) {
  const scale = (to - from) / size;
  const support = Math.max(scale, 1);
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(size);
  const counts = new Int32Array(size);
  const values = new Int32Array(size * most);
  const row = new Float64Array(most);
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
      values[i * most + j] = Math.trunc(0.5 + (row[j] / sum) * 2 ** PRECISION_BITS);
    }
  }
  return { starts, counts, values, most };
}

/**
 * @param {Uint8Array} data
 * @param {number} start
 * @param {number} step From one input value to the next.
 * @param {Weights} by
 * @param {number} i Which output pixel.
 */
function weighted(data, start, step, by, i) {
  let sum = 1 << (PRECISION_BITS - 1);
  for (let j = 0, from = start, at = i * by.most; j < by.counts[i]; j++, from += step, at++) {
    sum += data[from] * by.values[at];
  }
  return Math.min(sum >> PRECISION_BITS, 255);
}
