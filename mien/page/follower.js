/**
 * Follows faces from frame to frame: looks for each one in a small view around its last place, while the whole frame is
 * searched less often.
 */

import { iou } from "./boxes.js";
import { readPixels } from "./pixels.js";
import { isLevel } from "./tilt.js";
import { MIN_SCORE, lookCloser, toDetection } from "./yunet.js";
import { NMS_IOU } from "./yunet_network.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./yunet.js").Candidate} Candidate */
/**
 * @typedef {Candidate & {missed: number, unseen: number}} Followed A face, how many searches in a row did not find it, and
 *   in how many frames in a row it was not seen.
 */

/**
 * @typedef {object} Sighting A followed face in a frame.
 * @property {import("./yunet.js").Detection} detection In pixels of the frame.
 * @property {Pixels} surroundings The part of the frame around it.
 * @property {number} left Left edge of the surroundings in the frame.
 * @property {number} top Likewise.
 */

const VIEW = { width: 2, maxSide: 128 }; // on films, its boxes overlap by 0.95 on average with those of whole frames
const LEVEL_WIDTH = 2.2; // sides of the face's square that are read around it, a little more than its view needs
const TILTED_WIDTH = 3.2; // likewise for a face that is turned upright
const MAX_MISSED = 2; // searches in a row; a search is some frames old when it ends, and a fast face has left its place
const MAX_UNSEEN = 5; // frames in a row in which a face is still looked for at its last place

export class Follower {
  /** @type {Followed[]} */
  #faces = [];

  /** @param {import("./yunet.js").Networks} networks */
  constructor(networks) {
    this.networks = networks;
  }

  /** Whether there is no face to follow. */
  get isEmpty() {
    return this.#faces.length === 0;
  }

  /**
   * Takes over what a search of the whole frame has found: new faces, and the scores and tilts of those it knows.
   *
   * @param {Candidate[]} found With the scores of the second look.
   */
  update(found) {
    const known = new Set();
    for (const face of this.#faces) {
      const overlaps = found.map(({ values }) => iou(values, face.values));
      const same = found[overlaps.indexOf(Math.max(...overlaps))];
      const isFound = same && iou(same.values, face.values) > NMS_IOU;
      face.missed = isFound ? 0 : face.missed + 1;
      if (!isFound) continue;
      Object.assign(face, { score: same.score, angleDeg: same.angleDeg });
      known.add(same);
    }
    const added = found.filter((each) => !known.has(each)).map((each) => ({ ...each, missed: 0, unseen: 0 }));
    this.#faces = distinct([...this.#faces, ...added]).filter(
      ({ score, missed }) => score >= MIN_SCORE && missed <= MAX_MISSED,
    );
  }

  /**
   * Looks for the faces in the next frame.
   *
   * @param {ImageBitmap} frame
   * @returns {Promise<Sighting[]>} The faces that are still there.
   */
  async follow(frame) {
    const faces = [];
    /** @type {Map<Followed, Sighting>} */
    const sightings = new Map();
    for (const face of this.#faces) {
      const { surroundings, left, top } = readSurroundings(frame, face);
      const inside = { ...face, values: moved(face.values, -left, -top) };
      const found = await lookCloser(this.networks, surroundings, inside, VIEW);
      const values = found ? moved(found, left, top) : face.values;
      const next = { ...face, values, unseen: found ? 0 : face.unseen + 1 };
      faces.push(next);
      if (found) sightings.set(next, { detection: toDetection(values, face.score), surroundings, left, top });
    }
    this.#faces = distinct(faces).filter(({ unseen }) => unseen <= MAX_UNSEEN);
    return this.#faces.flatMap((face) => sightings.get(face) ?? []);
  }
}

/**
 * @param {ImageBitmap} frame
 * @param {Followed} face
 */
function readSurroundings(frame, { values, angleDeg }) {
  const half = ((values[2] - values[0]) * (isLevel(angleDeg) ? LEVEL_WIDTH : TILTED_WIDTH)) / 2;
  const [x, y] = [(values[0] + values[2]) / 2, (values[1] + values[3]) / 2];
  const left = Math.min(Math.max(0, Math.floor(x - half)), frame.width - 1);
  const top = Math.min(Math.max(0, Math.floor(y - half)), frame.height - 1);
  const right = Math.max(left + 1, Math.min(frame.width, Math.ceil(x + half)));
  const bottom = Math.max(top + 1, Math.min(frame.height, Math.ceil(y + half)));
  return { surroundings: readPixels(frame, [left, top, right, bottom]), left, top };
}

/**
 * @param {number[]} values Pairs of x and y.
 * @param {number} dx
 * @param {number} dy
 */
function moved(values, dx, dy) {
  return values.map((value, i) => value + (i % 2 ? dy : dx));
}

/**
 * Leaves out faces that overlap with an earlier one.
 *
 * @template {Candidate} T
 * @param {T[]} faces
 * @returns {T[]}
 */
function distinct(faces) {
  /** @type {T[]} */
  const kept = [];
  for (const face of faces) if (kept.every(({ values }) => iou(values, face.values) <= NMS_IOU)) kept.push(face);
  return kept;
}
