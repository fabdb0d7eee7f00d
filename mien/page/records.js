/** Recognised faces as JSON records and CSV rows: the counterpart of `mien/recognition/records.py` and of video's. */

/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */
/** @typedef {string | number | boolean | null | undefined} Cell */
/** @typedef {Record<string, any>} FaceRecord */

const FORMULA_STARTS = ["=", "+", "-", "@", "\t", "\r", "'"]; // spreadsheets would run text that starts with them

/**
 * Converts a picture to the record of `mien recognize --json`.
 *
 * @param {string} path The name of the picture.
 * @param {import("./types.js").Answer} answer
 */
export function pictureRecord(path, { width, height, faces }) {
  return { path, width, height, faces: faces.map(faceRecord) };
}

/**
 * Converts a face to a record.
 *
 * @param {Face} face
 * @returns {FaceRecord}
 */
export function faceRecord({ box, score, expression, confidence, uncertain, probabilities, landmarks }) {
  return {
    box: box.map((value) => rounded(value, 2)),
    score: rounded(score, 6),
    expression,
    confidence: rounded(confidence, 6),
    uncertain,
    probabilities: mapped(probabilities, (value) => rounded(value, 6)),
    landmarks: mapped(landmarks, ([x, y]) => [rounded(x, 2), rounded(y, 2)]),
  };
}

/**
 * Converts a frame to the record of `mien video --jsonl`.
 *
 * @param {number} frame The number of the frame, from 0.
 * @param {number} time_s
 * @param {{tracked: TrackedFace, raw: Record<string, number>}[]} faces With the probabilities of this frame alone.
 */
export function frameRecord(frame, time_s, faces) {
  return {
    frame,
    time_s: rounded(time_s, 4),
    faces: faces.map(({ tracked, raw }) => ({
      track: tracked.id,
      ...faceRecord(tracked),
      raw_probabilities: mapped(raw, (value) => rounded(value, 6)),
    })),
  };
}

/**
 * Converts the records of pictures to CSV; a picture without faces has a line with its name alone.
 *
 * @param {ReturnType<typeof pictureRecord>[]} records
 */
export function picturesCsv(records) {
  return toCsv(
    records.flatMap(({ path, faces }) =>
      faces.length ? faces.map((face, i) => ({ path, face: i + 1, ...faceCells(face) })) : [{ path }],
    ),
  );
}

/**
 * Converts the records of frames to CSV, with one line per face.
 *
 * @param {ReturnType<typeof frameRecord>[]} records
 */
export function framesCsv(records) {
  return toCsv(
    records.flatMap(({ frame, time_s, faces }) =>
      faces.map((/** @type {FaceRecord} */ face) => {
        const raw = Object.entries(face.raw_probabilities).map(([name, value]) => [`raw_${name}`, value]);
        return { time_s, frame, track: face.track, ...faceCells(face), ...Object.fromEntries(raw) };
      }),
    ),
  );
}

/**
 * The cells that the rows of pictures and of frames have in common.
 *
 * @param {FaceRecord} face
 */
function faceCells({ box: [x0, y0, x1, y1], score, expression, confidence, uncertain, probabilities }) {
  return { x0, y0, x1, y1, score, expression, confidence, uncertain, ...probabilities };
}

/** @param {Record<string, Cell>[]} rows A model chosen later may have other columns, which are left out. */
function toCsv(rows) {
  const columns = Object.keys(rows.reduce((a, b) => (Object.keys(b).length > Object.keys(a).length ? b : a), {}));
  const lines = rows.map((row) => columns.map((name) => cell(row[name])).join(","));
  return [columns.map(cell).join(","), ...lines, ""].join("\n");
}

/** @param {Cell} value */
function cell(value) {
  if (typeof value !== "string") return value ?? "";
  const text = FORMULA_STARTS.some((start) => value.startsWith(start)) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * @template T, U
 * @param {Record<string, T>} values
 * @param {(value: T) => U} change
 */
function mapped(values, change) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));
}

/**
 * @param {number} value
 * @param {number} digits
 */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}
