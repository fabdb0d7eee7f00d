/** Boxes and candidates of faces: the counterpart of `mien/detection/boxes.py`. */

/** @typedef {import("./types.js").Box} Box */

/**
 * @typedef {object} Candidate A possible face.
 * @property {number[]} values x0, y0, x1, y1 and the landmarks, x before y, in pixels.
 * @property {number} score In [0, 1].
 */

/**
 * Returns the area of the intersection of two boxes, in square pixels.
 *
 * @param {ArrayLike<number>} a Starts with x0, y0, x1, y1.
 * @param {ArrayLike<number>} b Likewise.
 */
function intersection(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}

/** @param {ArrayLike<number>} box Starts with x0, y0, x1, y1. */
function area(box) {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

/**
 * Returns the intersection over union of two boxes, in [0, 1].
 *
 * @param {ArrayLike<number>} a Starts with x0, y0, x1, y1.
 * @param {ArrayLike<number>} b Likewise.
 */
export function iou(a, b) {
  const common = intersection(a, b);
  return common / (area(a) + area(b) - common);
}

/**
 * Weighted non-maximum suppression (Bazarevsky et al., BlazeFace, arXiv:1907.05047, section 3.4).
 *
 * @param {Candidate[]} candidates
 * @param {number} threshold Candidates with a larger intersection over union are the same face.
 * @returns {Candidate[]} The faces, in descending order of score.
 */
export function weightedNms(candidates, threshold) {
  let remaining = [...candidates].sort((a, b) => b.score - a.score);
  /** @type {Candidate[]} */
  const faces = [];
  while (remaining.length) {
    const best = remaining[0];
    const same = remaining.filter((each) => each === best || iou(each.values, best.values) > threshold);
    const total = same.reduce((sum, each) => sum + each.score, 0);
    const values = best.values.map((_, i) => same.reduce((sum, each) => sum + each.values[i] * each.score, 0) / total);
    faces.push({ values, score: best.score });
    remaining = remaining.filter((each) => !same.includes(each));
  }
  return faces;
}

/**
 * Converts a detector's own box to a square that is framed like the faces of FER2013.
 *
 * @param {number[]} box
 * @param {number} margin How much wider the square is than the box's longer side, as a fraction of that side.
 * @param {number} lift How far the square's centre lies above the box's centre, as a fraction of that side.
 * @returns {Box}
 */
export function toFer2013Square([x0, y0, x1, y1], margin, lift) {
  const side = Math.max(x1 - x0, y1 - y0);
  const x = x0 + (x1 - x0) / 2;
  const y = y0 + (y1 - y0) / 2 - side * lift;
  const half = (side * (1 + margin)) / 2;
  return [x - half, y - half, x + half, y + half];
}
