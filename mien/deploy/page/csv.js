/** What was seen, as the file that `mien recognize --csv` would write; for moving pictures with its time first. */

/** @typedef {import("./types.js").Face} Face */

const MOST_ROWS = 200_000; // over two hours of one face at 25 frames/s; then the oldest go
const COLUMNS = ["path", "face", "x0", "y0", "x1", "y1", "score", "expression", "confidence", "uncertain"];

export class Sheet {
  /** @type {string[]} */
  #rows = [];

  /**
   * @param {boolean} timed Whether each row says when it was seen.
   */
  constructor(timed) {
    this.timed = timed;
    /** @type {string[]} */
    this.classes = [];
  }

  /**
   * @param {string} path The picture's or video's name.
   * @param {number} number Of the face, from 1.
   * @param {Face} face As the network sees it, not smoothed.
   * @param {number} [time_s]
   */
  add(path, number, face, time_s = 0) {
    const { box, score, expression, confidence, uncertain, probabilities } = face;
    if (!this.#rows.length) this.classes = Object.keys(probabilities);
    const values = [
      ...(this.timed ? [rounded(time_s, 3)] : []),
      quoted(path),
      number,
      ...box.map((value) => rounded(value, 2)),
      rounded(score, 6),
      quoted(expression),
      rounded(confidence, 6),
      uncertain,
      ...this.classes.map((name) => rounded(probabilities[name], 6)),
    ];
    this.#rows.push(values.join(","));
    if (this.#rows.length > MOST_ROWS) this.#rows.splice(0, MOST_ROWS / 10);
  }

  /** The whole file. */
  text() {
    const columns = [...(this.timed ? ["time_s"] : []), ...COLUMNS, ...this.classes.map(quoted)];
    return [columns.join(","), ...this.#rows, ""].join("\n");
  }
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
