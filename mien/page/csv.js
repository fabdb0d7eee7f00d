/** The faces as CSV, with the columns of `mien recognize --csv` for pictures and of `mien video --csv` for frames. */

/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */

const MAX_ROWS = 200_000; // more than two hours of one face at 25 frames/s; then the oldest rows are dropped

export class CsvTable {
  /** @type {string[]} */
  #columns = [];
  /** @type {string[]} */
  #rows = [];

  /**
   * @param {string} path The name of the picture.
   * @param {number} number The number of the face, from 1.
   * @param {Face} face
   */
  addPictureFace(path, number, face) {
    this.#add({ path, face: number, ...commonColumns(face) });
  }

  /**
   * @param {number} time_s
   * @param {number} frame The number of the frame, from 0.
   * @param {TrackedFace} tracked The face with its smoothed probabilities.
   * @param {Face} face The face with the probabilities of this frame alone.
   */
  addFrameFace(time_s, frame, tracked, face) {
    const raw = Object.entries(face.probabilities).map(([name, value]) => [`raw_${name}`, rounded(value, 6)]);
    const time = { time_s: rounded(time_s, 4), frame, track: tracked.id };
    this.#add({ ...time, ...commonColumns(tracked), ...Object.fromEntries(raw) });
  }

  /** @param {Record<string, string | number | boolean>} row */
  #add(row) {
    if (!this.#rows.length) this.#columns = Object.keys(row);
    const values = this.#columns.map((name) => row[name] ?? ""); // a model chosen later may have other classes
    this.#rows.push(toLine(values));
    if (this.#rows.length > MAX_ROWS) this.#rows.splice(0, MAX_ROWS / 10);
  }

  /** The whole file. */
  text() {
    return [toLine(this.#columns), ...this.#rows, ""].join("\n");
  }
}

/**
 * The columns that pictures and frames have in common.
 *
 * @param {Face} face
 */
function commonColumns({ box: [x0, y0, x1, y1], score, expression, confidence, uncertain, probabilities }) {
  return {
    ...{ x0: rounded(x0, 2), y0: rounded(y0, 2), x1: rounded(x1, 2), y1: rounded(y1, 2) },
    ...{ score: rounded(score, 6), expression, confidence: rounded(confidence, 6), uncertain },
    ...Object.fromEntries(Object.entries(probabilities).map(([name, value]) => [name, rounded(value, 6)])),
  };
}

/** @param {(string | number | boolean)[]} values */
function toLine(values) {
  return values.map((value) => (typeof value === "string" ? quoted(value) : value)).join(",");
}

/**
 * @param {number} value
 * @param {number} digits
 */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}

/** @param {string} text */
function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
