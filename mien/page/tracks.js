/** Tracks faces from frame to frame and smooths their probabilities, so that their labels do not flicker. */

import { iou } from "./boxes.js";

/** @typedef {import("./types.js").Face} Face */
/** @typedef {Face & {id: number}} TrackedFace A face with a number that it keeps from frame to frame. */
/** @typedef {{time_s: number, probabilities: Record<string, number>, expression: string, uncertain: boolean}} Moment */

export const HISTORY_S = 30;
const SMOOTHING_S = 0.3; // time constant of the exponential moving average
const LEAD = 0.1; // the expression changes only to a class whose probability is larger by this much
const MIN_IOU = 0.1; // of a face in two successive frames, as in mien/video/track.py
const LOST_S = 2; // a face that reappears within this time keeps its number

/**
 * @typedef {object} Track
 * @property {number} id
 * @property {Face["box"]} box
 * @property {Record<string, number>} probabilities
 * @property {string} expression Empty after a change of the model, until that model has classified the face.
 * @property {number} seen_s
 * @property {Moment[]} history
 */

export class Tracks {
  /** @type {Track[]} */
  #tracks = [];
  #lastId = 0;
  #now_s = 0;

  /** @param {number} uncertain_below The confidence below which an expression is uncertain. */
  constructor(uncertain_below) {
    this.uncertain_below = uncertain_below;
  }

  /**
   * Assigns the faces of the next frame to tracks.
   *
   * @param {Face[]} faces
   * @param {number} time_s Time of the frame. All tracks end if it is before the last frame or long after it.
   * @param {boolean} [jumped] Whether to end all tracks in any case.
   * @returns {TrackedFace[]} The faces with smoothed probabilities.
   */
  update(faces, time_s, jumped = false) {
    if (jumped || time_s < this.#now_s || time_s > this.#now_s + HISTORY_S) this.#tracks = [];
    const lost_s = Math.min(this.#now_s, time_s - LOST_S); // successive frames may be further apart than LOST_S
    this.#now_s = time_s;
    this.#tracks = this.#tracks.filter((track) => track.seen_s >= lost_s);
    const matches = matchTracks(this.#tracks, faces);
    return faces.map((face) => {
      const track = matches.get(face) ?? this.#addTrack(face, time_s);
      updateTrack(track, face, time_s);
      const { id, probabilities, expression } = track;
      const confidence = probabilities[expression];
      const uncertain = confidence < this.uncertain_below;
      track.history.push({ time_s, probabilities, expression, uncertain });
      while (track.history[0].time_s < time_s - HISTORY_S) track.history.shift();
      return { ...face, id, probabilities, expression, confidence, uncertain };
    });
  }

  /**
   * Restarts the smoothing for another model. The faces keep their numbers.
   *
   * @param {number} uncertain_below The threshold of the new model.
   */
  changeModel(uncertain_below) {
    this.uncertain_below = uncertain_below;
    for (const track of this.#tracks) track.expression = "";
  }

  /**
   * Returns the last HISTORY_S seconds of a face.
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
  #addTrack({ box, probabilities, expression }, time_s) {
    const track = { id: ++this.#lastId, box, probabilities, expression, seen_s: time_s, history: [] };
    this.#tracks.push(track);
    return track;
  }
}

/**
 * Matches faces with tracks, largest overlap first.
 *
 * @param {Track[]} tracks
 * @param {Face[]} faces
 */
function matchTracks(tracks, faces) {
  const pairs = tracks
    .flatMap((track) => faces.map((face) => ({ track, face, overlap: iou(track.box, face.box) })))
    .filter(({ overlap }) => overlap > MIN_IOU)
    .sort((a, b) => b.overlap - a.overlap);
  /** @type {Map<Face, Track>} */
  const matches = new Map();
  const matched = new Set();
  for (const { track, face } of pairs) {
    if (matches.has(face) || matched.has(track)) continue;
    matches.set(face, track);
    matched.add(track);
  }
  return matches;
}

/**
 * @param {Track} track
 * @param {Face} face
 * @param {number} time_s
 */
function updateTrack(track, face, time_s) {
  const weight = track.expression === "" ? 1 : 1 - Math.exp(-(time_s - track.seen_s) / SMOOTHING_S);
  /** @type {(from: number, to: number) => number} */
  const average = (from, to) => from + weight * (to - from);
  track.box = face.box;
  track.seen_s = time_s;
  const previous = track.probabilities;
  track.probabilities = Object.fromEntries(
    Object.entries(face.probabilities).map(([name, value]) => [name, average(previous[name] ?? value, value)]),
  );
  const [name, highest] = Object.entries(track.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
  const current = track.probabilities[track.expression] ?? -LEAD; // the new model may not have the previous class
  if (highest >= current + LEAD) track.expression = name;
}
