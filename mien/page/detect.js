/** What detectors share: the browser's counterpart of `mien/detection/base.py`. */

/** @typedef {import("./types.js").Box} Box */

/**
 * @typedef {object} Candidate What may be a face.
 * @property {number[]} values x0, y0, x1, y1 and the landmarks, x before y, pixels.
 * @property {number} score In [0, 1].
 */

/**
 * The area that two boxes share, square pixels.
 *
 * @param {ArrayLike<number>} a x0, y0, x1, y1 first.
 * @param {ArrayLike<number>} b Likewise.
 */
export function shared(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}

/**
 * @param {ArrayLike<number>} box x0, y0, x1, y1 first.
 */
export function area(box) {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

/**
 * Intersection over union, in [0, 1].
 *
 * @param {ArrayLike<number>} a x0, y0, x1, y1 first.
 * @param {ArrayLike<number>} b Likewise.
 */
export function overlap(a, b) {
  const both = shared(a, b);
  return both / (area(a) + area(b) - both);
}

/**
 * Weighted non-maximum suppression (Bazarevsky et al., BlazeFace, arXiv:1907.05047, section 3.4).
 *
 * @param {Candidate[]} candidates
 * @param {number} threshold Candidates whose intersection over union is above it are the same face.
 * @returns {Candidate[]} The faces, by descending score.
 */
export function suppressWeighted(candidates, threshold) {
  let left = [...candidates].sort((a, b) => b.score - a.score);
  /** @type {Candidate[]} */
  const faces = [];
  while (left.length) {
    const best = left[0];
    const same = left.filter((each) => each === best || overlap(each.values, best.values) > threshold);
    const total = same.reduce((sum, each) => sum + each.score, 0);
    const values = best.values.map((_, i) => same.reduce((sum, each) => sum + each.values[i] * each.score, 0) / total);
    faces.push({ values, score: best.score });
    left = left.filter((each) => !same.includes(each));
  }
  return faces;
}

/**
 * A detector's own box -> the square that FER2013 would have cut.
 *
 * @param {number[]} box
 * @param {number} margin How much the square is wider than the box's longer side, as a share of that side.
 * @param {number} lift How far the square's centre stands above the box's, as a share of that side.
 * @returns {Box}
 */
export function framed([x0, y0, x1, y1], margin, lift) {
  const longer = Math.max(x1 - x0, y1 - y0);
  const x = x0 + (x1 - x0) / 2;
  const y = y0 + (y1 - y0) / 2 - longer * lift;
  const half = (longer * (1 + margin)) / 2;
  return [x - half, y - half, x + half, y + half];
}
