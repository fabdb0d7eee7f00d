/** Faces followed from frame to frame, and what is shown of them: smoothed a little, so that no label flickers. */

import { overlap } from "./detect.js";

/** @typedef {import("./types.js").Face} Face */
/** @typedef {Face & {id: number}} ShownFace A face with the number that it keeps while it is in view. */
/** @typedef {{time_s: number, probabilities: Record<string, number>, expression: string, uncertain: boolean}} Moment */

export const HISTORY_S = 30;
const SMOOTHING_S = 0.3; // time constant of the exponential average
const LEAD = 0.1; // by how much another class must lead before the label changes
const SAME = 0.3; // least intersection over union of a face with itself, a frame later
const FORGOTTEN_S = 2; // how long a face may be out of view and still be the same

/**
 * @typedef {object} Track
 * @property {number} id
 * @property {Face["box"]} box
 * @property {Record<string, number>} probabilities
 * @property {string} expression Empty until the model that was changed to has said it.
 * @property {number} seen_s
 * @property {Moment[]} history
 */

export class Tracks {
  /** @type {Track[]} */
  #tracks = [];
  #last = 0;
  #now_s = 0;

  /** @param {number} uncertain_below The confidence below which the model is uncertain. */
  constructor(uncertain_below) {
    this.uncertain_below = uncertain_below;
  }

  /**
   * @param {Face[]} faces Of the next frame.
   * @param {number} time_s When it was seen; where it is before the last frame or long after it, all begins anew.
   * @param {boolean} [jumped] Whether all begins anew in any case.
   * @returns {ShownFace[]} With smoothed probabilities.
   */
  update(faces, time_s, jumped = false) {
    if (jumped || time_s < this.#now_s || time_s > this.#now_s + HISTORY_S) this.#tracks = [];
    const long_ago_s = Math.min(this.#now_s, time_s - FORGOTTEN_S); // frames may be further apart than that
    this.#now_s = time_s;
    this.#tracks = this.#tracks.filter((track) => track.seen_s >= long_ago_s);
    const pairs = matched(this.#tracks, faces);
    return faces.map((face) => {
      const track = pairs.get(face) ?? this.#begun(face, time_s);
      follow(track, face, time_s);
      const { id, probabilities, expression } = track;
      const confidence = probabilities[expression];
      const uncertain = confidence < this.uncertain_below;
      track.history.push({ time_s, probabilities, expression, uncertain });
      while (track.history[0].time_s < time_s - HISTORY_S) track.history.shift();
      return { ...face, id, probabilities, expression, confidence, uncertain };
    });
  }

  /**
   * The faces keep their numbers, but what another model says of them is not mixed with what this one said.
   *
   * @param {number} uncertain_below The other one's.
   */
  changeModel(uncertain_below) {
    this.uncertain_below = uncertain_below;
    for (const track of this.#tracks) track.expression = "";
  }

  /**
   * What a face showed in the last HISTORY_S seconds.
   *
   * @param {number | null} id
   * @returns {Moment[]}
   */
  history(id) {
    return this.#tracks.find((track) => track.id === id)?.history ?? [];
  }

  /**
   * @param {Face} face
   * @param {number} time_s
   * @returns {Track}
   */
  #begun({ box, probabilities, expression }, time_s) {
    const track = { id: ++this.#last, box, probabilities, expression, seen_s: time_s, history: [] };
    this.#tracks.push(track);
    return track;
  }
}

/**
 * Which track each face goes on, the largest overlaps first.
 *
 * @param {Track[]} tracks
 * @param {Face[]} faces
 */
function matched(tracks, faces) {
  const near = tracks
    .flatMap((track) => faces.map((face) => ({ track, face, share: overlap(track.box, face.box) })))
    .filter(({ share }) => share > SAME)
    .sort((a, b) => b.share - a.share);
  /** @type {Map<Face, Track>} */
  const pairs = new Map();
  const taken = new Set();
  for (const { track, face } of near) {
    if (pairs.has(face) || taken.has(track)) continue;
    pairs.set(face, track);
    taken.add(track);
  }
  return pairs;
}

/**
 * @param {Track} track
 * @param {Face} face
 * @param {number} time_s
 */
function follow(track, face, time_s) {
  const share = track.expression === "" ? 1 : 1 - Math.exp(-(time_s - track.seen_s) / SMOOTHING_S);
  /** @type {(before: number, now: number) => number} */
  const mixed = (before, now) => before + share * (now - before);
  track.box = face.box;
  track.seen_s = time_s;
  track.probabilities = Object.fromEntries(
    Object.entries(face.probabilities).map(([name, now]) => [name, mixed(track.probabilities[name] ?? now, now)]),
  );
  const [name, highest] = Object.entries(track.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
  const held = track.probabilities[track.expression] ?? -LEAD; // another model may have other classes
  if (highest >= held + LEAD) track.expression = name;
}
