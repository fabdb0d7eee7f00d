/** The second look at the candidates of YuNet: the counterpart of `mien/detection/face_check.py`. */

import { crop, resize, rotate, round } from "./pixels.js";
import { tiltDeg, wrapped } from "./tilt.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {(images: Float32Array, shape: number[]) => Promise<Record<string, {data: Float32Array}>>} Run */

const SIZE = 96;
const WIDTHS = [1.6, 2.0, 2.5];
const LANDMARKS = ["right_eye", "left_eye", "nose", "mouth_right", "mouth_left"];
const MAX_SIDE_PX = 32;
const SLOPE = 2.572;
const SIZE_SLOPE = -2.801;
const INTERCEPT = 10.437;

/**
 * Looks at one candidate a second time.
 *
 * @param {Run} run The network: `views` (N, 3, 96, 96) -> `scores` (N,), `landmarks` (N, 10).
 * @param {Pixels} image RGB.
 * @param {ArrayLike<number>} square Starts with x0, y0, x1, y1, in pixels.
 * @param {number} angleDeg Degrees counterclockwise by which the views are turned.
 * @returns {Promise<{score: number, tiltDeg: number}>} The probability of a face, and its tilt in degrees clockwise.
 */
export async function check(run, image, square, angleDeg) {
  const views = new Float32Array(WIDTHS.length * 3 * SIZE * SIZE);
  WIDTHS.forEach((width, i) => writeView(views, i, image, square, width, angleDeg));
  const { scores, landmarks } = await run(views, [WIDTHS.length, 3, SIZE, SIZE]);
  let [mean, x, y] = [0, 0, 0];
  for (let i = 0; i < WIDTHS.length; i++) {
    const score = scores.data[i];
    const points = Object.fromEntries(
      LANDMARKS.map((name, j) => [name, landmarks.data.subarray(i * 10 + 2 * j, i * 10 + 2 * j + 2)]),
    );
    const angle = ((isMirrored(i) ? -1 : 1) * tiltDeg(points) * Math.PI) / 180;
    mean += score / WIDTHS.length;
    x += score * Math.cos(angle);
    y += score * Math.sin(angle);
  }
  const tilt = wrapped(angleDeg + (Math.atan2(y, x) * 180) / Math.PI);
  return { score: faceProbability(mean, square[2] - square[0]), tiltDeg: tilt };
}

/**
 * Writes one view of a candidate into the network's input.
 *
 * @param {Float32Array} views
 * @param {number} index
 * @param {Pixels} image
 * @param {ArrayLike<number>} square
 * @param {number} width
 * @param {number} angleDeg
 */
function writeView(views, index, image, square, width, angleDeg) {
  const own = square[2] - square[0];
  const side = Math.min(own * width, Math.max(own, image.width, image.height));
  const size = angleDeg ? Math.ceil((SIZE * Math.SQRT2) / 2) * 2 : SIZE; // holds every turn of the square
  const half = ((side / 2) * size) / SIZE;
  const [x, y] = [(square[0] + square[2]) / 2, (square[1] + square[3]) / 2];
  const region = crop(image, [round(x - half), round(y - half), round(x + half), round(y + half)], false);
  const scaled = resize(region, size, size);
  const { data } = angleDeg ? rotate(scaled, angleDeg) : scaled;
  const margin = (size - SIZE) / 2;
  for (let channel = 0, to = index * 3 * SIZE * SIZE; channel < 3; channel++) {
    for (let row = 0; row < SIZE; row++) {
      for (let column = 0; column < SIZE; column++, to++) {
        const from = isMirrored(index) ? SIZE - 1 - column : column;
        views[to] = data[((margin + row) * size + margin + from) * 3 + channel];
      }
    }
  }
}

/** @param {number} view */
function isMirrored(view) {
  return view % 2 === 0;
}

/**
 * @param {number} score The network's mean score, in [0, 1].
 * @param {number} sidePx
 */
function faceProbability(score, sidePx) {
  const logit = Math.log((score + 0.02) / (1.02 - score));
  const size = Math.log(Math.min(sidePx, MAX_SIDE_PX));
  return 1 / (1 + Math.exp(-(SLOPE * logit + SIZE_SLOPE * size + INTERCEPT)));
}
