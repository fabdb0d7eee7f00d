/**
 * Follows faces from frame to frame: looks for each one in a small view around its last place, while the whole frame is
 * searched less often.
 */

import { iou } from "./boxes.js";
import { isLevel } from "./tilt.js";
import { MIN_SCORE, findInView, middleOf } from "./yunet.js";
import { NMS_IOU } from "./yunet_network.js";

/** @typedef {import("./yunet.js").Candidate} Candidate */

/**
 * @typedef {object} Followed A face.
 * @property {number[]} values Its square and landmarks in the last frame in which it was seen.
 * @property {number} score Of the second look.
 * @property {number} angleDeg The turn that levels it.
 * @property {number} missed How many searches in a row did not find it.
 * @property {number} unseen In how many frames in a row it was not seen.
 * @property {import("./classifier.js").Result | null} result Its expression, once it has been classified.
 * @property {number} age Frames since then.
 */

const VIEW_WIDTH = 2; // sides of the face's square
const VIEW_SIDE = 128; // pixels; on films, the boxes overlap by 0.95 on average with those in whole frames
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

  /** Whether a face was lost in the last frame. */
  get hasLost() {
    return this.#faces.some(({ unseen }) => unseen === 1);
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
    const added = found
      .filter((each) => !known.has(each))
      .map(({ values, score, angleDeg }) => ({ values, score, angleDeg, missed: 0, unseen: 0, result: null, age: 0 }));
    this.#faces = distinct([...this.#faces, ...added]).filter(
      ({ score, missed }) => score >= MIN_SCORE && missed <= MAX_MISSED,
    );
  }

  /**
   * Looks for the faces in the next frame.
   *
   * @param {import("./frame_canvas.js").FrameCanvas} frame
   * @returns {Promise<Followed[]>} The faces that are still there.
   */
  async follow(frame) {
    for (const face of this.#faces) {
      const { values, angleDeg } = face;
      const turn = isLevel(angleDeg) ? 0 : angleDeg;
      const square = { middle: middleOf(values), side: (values[2] - values[0]) * VIEW_WIDTH, angleDeg: turn };
      const view = frame.view(square, VIEW_SIDE);
      const seen = await findInView(this.networks, view, values, square);
      face.unseen = seen ? 0 : face.unseen + 1;
      face.values = seen ?? values;
      face.age++;
    }
    this.#faces = distinct(this.#faces).filter(({ unseen }) => unseen <= MAX_UNSEEN);
    return this.#faces.filter(({ unseen }) => unseen === 0);
  }
}

/**
 * Leaves out faces that overlap with an earlier one.
 *
 * @param {Followed[]} faces
 */
function distinct(faces) {
  /** @type {Followed[]} */
  const kept = [];
  for (const face of faces) if (kept.every(({ values }) => iou(values, face.values) <= NMS_IOU)) kept.push(face);
  return kept;
}
