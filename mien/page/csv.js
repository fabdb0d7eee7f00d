/** What was seen, in the columns of `mien recognize --csv`, or of `mien video --csv` where it moved. */

/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./tracks.js").ShownFace} ShownFace */

const MOST_ROWS = 200_000; // over two hours of one face at 25 frames/s; then the oldest go

export class Sheet {
  /** @type {string[]} */
  #columns = [];
  /** @type {string[]} */
  #rows = [];

  /**
   * @param {string} path The picture's name.
   * @param {number} number Of the face, from 1.
   * @param {Face} face
   */
  addPicture(path, number, face) {
    this.#add({ path, face: number, ...cells(face) });
  }

  /**
   * @param {number} time_s
   * @param {number} frame Its number, from 0.
   * @param {ShownFace} shown A face with what it shows over time.
   * @param {Face} face The same with what this frame alone shows.
   */
  addFrame(time_s, frame, shown, face) {
    const raw = Object.entries(face.probabilities).map(([name, value]) => [`raw_${name}`, rounded(value, 6)]);
    this.#add({ time_s: rounded(time_s, 4), frame, track: shown.id, ...cells(shown), ...Object.fromEntries(raw) });
  }

  /** @param {Record<string, string | number | boolean>} row */
  #add(row) {
    if (!this.#rows.length) this.#columns = Object.keys(row);
    this.#rows.push(line(this.#columns.map((name) => row[name] ?? ""))); // another model may have other classes
    if (this.#rows.length > MOST_ROWS) this.#rows.splice(0, MOST_ROWS / 10);
  }

  /** The whole file. */
  text() {
    return [line(this.#columns), ...this.#rows, ""].join("\n");
  }
}

/**
 * What the rows of pictures and of videos share.
 *
 * @param {Face} face
 */
function cells({ box: [x0, y0, x1, y1], score, expression, confidence, uncertain, probabilities }) {
  return {
    ...{ x0: rounded(x0, 2), y0: rounded(y0, 2), x1: rounded(x1, 2), y1: rounded(y1, 2) },
    ...{ score: rounded(score, 6), expression, confidence: rounded(confidence, 6), uncertain },
    ...Object.fromEntries(Object.entries(probabilities).map(([name, value]) => [name, rounded(value, 6)])),
  };
}

/** @param {(string | number | boolean)[]} values */
function line(values) {
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
