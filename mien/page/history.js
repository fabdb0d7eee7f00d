/** All faces since the camera or a video was opened, in little memory. */

import { frameRecord } from "./records.js";

/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */

const MAX_ROWS = 200_000; // more than two hours of one face at 25 frames/s; then the oldest rows are dropped
const ROWS_PER_BLOCK = 1000;
const FIXED = ["frame", "time_s", "track", "x0", "y0", "x1", "y1", "score", "expression", "confidence", "uncertain"];

/**
 * @typedef {object} Block Some rows, one per face, and one for each frame without a face, whose track is 0.
 * @property {string[]} classes
 * @property {string[]} landmarks
 * @property {number} width Values in a row: FIXED, the smoothed and the raw probabilities, and the landmarks.
 * @property {Float64Array} values
 * @property {number} count Rows that are used.
 */

export class History {
  /** @type {Block[]} */
  #blocks = [];

  /**
   * @param {number} frame The number of the frame, from 0.
   * @param {number} time_s
   * @param {TrackedFace[]} tracked The faces with their smoothed probabilities.
   * @param {Face[]} faces The same faces with the probabilities of this frame alone.
   */
  add(frame, time_s, tracked, faces) {
    const last = this.#blocks[this.#blocks.length - 1];
    if (!tracked.length) this.#row(last?.classes ?? [], last?.landmarks ?? []).set([frame, time_s, 0]);
    tracked.forEach((face, i) => {
      const classes = Object.keys(faces[i].probabilities);
      const { id, box, score, expression, confidence, uncertain, probabilities, landmarks } = face;
      const index = classes.indexOf(expression);
      this.#row(classes, Object.keys(landmarks)).set([
        ...[frame, time_s, id, ...box, score, index, confidence, Number(uncertain)],
        ...classes.map((name) => probabilities[name]),
        ...classes.map((name) => faces[i].probabilities[name]),
        ...Object.values(landmarks).flat(),
      ]);
    });
  }

  /**
   * Returns the place for another row.
   *
   * @param {string[]} classes
   * @param {string[]} landmarks
   */
  #row(classes, landmarks) {
    let block = this.#blocks[this.#blocks.length - 1];
    const isSame =
      block && block.classes.join() === classes.join() && block.landmarks.join() === landmarks.join();
    if (!isSame || block.count === ROWS_PER_BLOCK) {
      const width = FIXED.length + 2 * classes.length + 2 * landmarks.length;
      block = { classes, landmarks, width, values: new Float64Array(width * ROWS_PER_BLOCK), count: 0 };
      this.#blocks.push(block);
      if (this.#blocks.length > MAX_ROWS / ROWS_PER_BLOCK) this.#blocks.shift();
    }
    const start = block.count++ * block.width;
    return block.values.subarray(start, start + block.width);
  }

  /** Returns the records of all frames, in order. */
  records() {
    const frames = [];
    /** @type {{number: number, time_s: number, faces: {tracked: TrackedFace, raw: Record<string, number>}[]} | null} */
    let current = null;
    for (const block of this.#blocks) {
      for (let row = 0; row < block.count; row++) {
        const values = block.values.subarray(row * block.width, (row + 1) * block.width);
        if (!current || current.number !== values[0]) {
          if (current) frames.push(current);
          current = { number: values[0], time_s: values[1], faces: [] };
        }
        if (values[2]) current.faces.push(toFace(block, values));
      }
    }
    if (current) frames.push(current);
    return frames.map(({ number, time_s, faces }) => frameRecord(number, time_s, faces));
  }
}

/**
 * @param {Block} block
 * @param {Float64Array} values One row.
 */
function toFace({ classes, landmarks }, values) {
  const [, , id, x0, y0, x1, y1, score, index, confidence, uncertain] = values;
  const rest = values.subarray(FIXED.length);
  const points = rest.subarray(2 * classes.length);
  /** @type {(from: number) => Record<string, number>} */
  const probabilities = (from) => Object.fromEntries(classes.map((name, i) => [name, rest[from + i]]));
  const tracked = {
    id,
    box: /** @type {[number, number, number, number]} */ ([x0, y0, x1, y1]),
    score,
    expression: classes[index],
    confidence,
    uncertain: Boolean(uncertain),
    probabilities: probabilities(0),
    landmarks: Object.fromEntries(
      landmarks.map((name, i) => [name, /** @type {[number, number]} */ ([points[2 * i], points[2 * i + 1]])]),
    ),
  };
  return { tracked, raw: probabilities(classes.length) };
}
