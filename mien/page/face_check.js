/** The second look at the candidates of YuNet: the counterpart of `mien/detection/face_check.py`. */

import { crop, resize, rotate, round } from "./pixels.js";
import { tiltDeg, wrapped } from "./tilt.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {(images: Float32Array, shape: number[]) => Promise<Record<string, {data: Float32Array}>>} Run */

const SIZE = 96;
const VIEWS = [
  { width: 2.0, isMirrored: false },
  { width: 1.6, isMirrored: true },
  { width: 2.5, isMirrored: true },
];
const DOUBTFUL = [0.02, 0.97];
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
  const first = await look(run, image, square, angleDeg, VIEWS.slice(0, 1));
  const glance = answer(first, square, angleDeg);
  if (glance.score <= DOUBTFUL[0] || glance.score >= DOUBTFUL[1]) return glance;
  const others = await look(run, image, square, angleDeg, VIEWS.slice(1));
  return answer([...first, ...others], square, angleDeg);
}

/**
 * Runs the network on views of a candidate.
 *
 * @param {Run} run
 * @param {Pixels} image
 * @param {ArrayLike<number>} square
 * @param {number} angleDeg
 * @param {typeof VIEWS} kinds
 * @returns {Promise<{score: number, tilt: number}[]>} The network's score of each view, and its tilt in radians.
 */
async function look(run, image, square, angleDeg, kinds) {
  const views = new Float32Array(kinds.length * 3 * SIZE * SIZE);
  kinds.forEach((kind, i) => writeView(views, i, image, square, kind, angleDeg));
  const { scores, landmarks } = await run(views, [kinds.length, 3, SIZE, SIZE]);
  return kinds.map(({ isMirrored }, i) => {
    const points = Object.fromEntries(
      LANDMARKS.map((name, j) => [name, landmarks.data.subarray(i * 10 + 2 * j, i * 10 + 2 * j + 2)]),
    );
    return { score: scores.data[i], tilt: ((isMirrored ? -1 : 1) * tiltDeg(points) * Math.PI) / 180 };
  });
}

/**
 * @param {{score: number, tilt: number}[]} views
 * @param {ArrayLike<number>} square
 * @param {number} angleDeg
 */
function answer(views, square, angleDeg) {
  let [mean, x, y] = [0, 0, 0];
  for (const { score, tilt } of views) {
    mean += score / views.length;
    x += score * Math.cos(tilt);
    y += score * Math.sin(tilt);
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
 * @param {typeof VIEWS[0]} kind
 * @param {number} angleDeg
 */
function writeView(views, index, image, square, { width, isMirrored }, angleDeg) {
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
        const from = isMirrored ? SIZE - 1 - column : column;
        views[to] = data[((margin + row) * size + margin + from) * 3 + channel];
      }
    }
  }
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
