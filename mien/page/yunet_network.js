/** Runs YuNet on one image, and decodes its outputs: a part of the counterpart of `mien/detection/yunet.py`. */

import { toFer2013Square, weightedNms } from "./boxes.js";
import { resize, round } from "./pixels.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./yunet.js").Networks} Networks */
/** @typedef {import("./yunet.js").Candidate} Candidate */

const STRIDES = [8, 16, 32];
const MARGIN = -0.03;
const LIFT = 0;
export const MAX_INPUT_SIDE = 1280;
export const MIN_CANDIDATE_SCORE = 0.5;
export const NMS_IOU = 0.3;

/**
 * Runs the network on an image.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {number} [minScore]
 * @returns {Promise<Candidate[]>}
 */
export async function findCandidates(networks, image, minScore = MIN_CANDIDATE_SCORE) {
  return merged(await findCells(networks, image, MAX_INPUT_SIDE, minScore));
}

/**
 * Runs the network on an image, which is downscaled to `maxSide` pixels if it is larger. Returns the candidate of each
 * cell, of which several show one face.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {number} maxSide
 * @param {number} minScore
 */
export async function findCells({ yunet }, image, maxSide, minScore) {
  const scale = Math.min(1, maxSide / Math.max(image.width, image.height));
  const [columns, rows] = [Math.max(1, round(image.width * scale)), Math.max(1, round(image.height * scale))];
  const scaled = scale < 1 ? resize(image, columns, rows) : image;
  const last = STRIDES[STRIDES.length - 1];
  const [width, height] = [Math.ceil(columns / last) * last, Math.ceil(rows / last) * last];
  const outputs = await yunet(toInput(scaled, width, height), [1, 3, height, width]);
  return STRIDES.flatMap((stride) => decode(outputs, stride, width / stride, minScore)).map(({ values, score }) => ({
    values: values.map((value, i) => value * (i % 2 ? image.height / rows : image.width / columns)),
    score,
  }));
}

/**
 * Merges the candidates of neighbouring cells, and makes their boxes squares.
 *
 * @param {import("./boxes.js").Candidate[]} cells
 * @returns {Candidate[]}
 */
export function merged(cells) {
  return weightedNms(cells, NMS_IOU).map(({ values: [x0, y0, x1, y1, ...points], score }) => ({
    values: [...toFer2013Square([x0, y0, x1, y1], MARGIN, LIFT), ...points],
    score,
    angleDeg: 0,
  }));
}

/**
 * Converts an image to the network's input: BGR, 0..255, black up to the padded size.
 *
 * @param {Pixels} image
 * @param {number} width
 * @param {number} height
 */
function toInput(image, width, height) {
  const images = new Float32Array(3 * width * height);
  for (let row = 0, from = 0; row < image.height; row++) {
    for (let column = 0, to = row * width; column < image.width; column++, to++, from += 3) {
      images[to] = image.data[from + 2];
      images[width * height + to] = image.data[from + 1];
      images[2 * width * height + to] = image.data[from];
    }
  }
  return images;
}

/**
 * Decodes the cells of one output to candidates in pixels of the input.
 *
 * @param {Record<string, {data: Float32Array}>} outputs
 * @param {number} stride
 * @param {number} columns Cells per row.
 * @param {number} minScore
 */
function decode(outputs, stride, columns, minScore) {
  const [classes, objects, boxes, points] = ["cls", "obj", "bbox", "kps"].map((kind) => outputs[`${kind}_${stride}`].data);
  const candidates = [];
  for (let i = 0; i < classes.length; i++) {
    if (classes[i] * objects[i] < minScore ** 2) continue;
    const score = Math.sqrt(Math.min(classes[i], 1) * Math.min(objects[i], 1));
    const corner = [i % columns, Math.floor(i / columns)];
    const [x, y] = [corner[0] + boxes[4 * i], corner[1] + boxes[4 * i + 1]];
    const [halfWidth, halfHeight] = [Math.exp(boxes[4 * i + 2]) / 2, Math.exp(boxes[4 * i + 3]) / 2];
    const values = [x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight];
    for (let j = 0; j < 10; j++) values.push(points[10 * i + j] + corner[j % 2]);
    candidates.push({ values: values.map((value) => value * stride), score });
  }
  return candidates;
}
