/**
 * YuNet with a second look: the counterpart of `mien/detection/yunet.py`, which explains each constant and each step. A
 * test compares the faces that both find.
 */

import { iou } from "./boxes.js";
import { check } from "./face_check.js";
import { crop, cropTurned, round } from "./pixels.js";
import { isLevel } from "./tilt.js";
import { TurnedCopies } from "./turned_copies.js";
import { MAX_INPUT_SIDE, MIN_CANDIDATE_SCORE, NMS_IOU, findCandidates, findCells, merged } from "./yunet_network.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */
/** @typedef {import("./face_check.js").Run} Run */
/** @typedef {import("./boxes.js").Candidate & {angleDeg: number}} Candidate A candidate and the turn that levels it. */
/** @typedef {{box: Box, landmarks: Record<string, [number, number]>, score: number}} Detection */
/** @typedef {{yunet: Run, centerface: Run}} Networks */

const LANDMARKS = ["right_eye", "left_eye", "nose", "mouth_right", "mouth_left"];
const MIN_TILTED_CANDIDATE_SCORE = 0.3;
const MAX_TILTED_CANDIDATES = 1;
export const MIN_SCORE = 0.5;
const CERTAIN_SCORE = 0.9;
const TURNED_SIDE = 192;
const GLANCE_SIDE = 112;
const MIN_GLANCE_SCORE = 0.15;
const MIN_TURNED_CANDIDATE_SCORE = 0.6;
const MIN_TILTED_SCORE = 0.05;
const MIN_TURN_RATIO = 0.9;
const MIN_TURNED_SCORE = 0.75;
const CROWD_SIDE = 24;
const CROWD_FACES = 4;
const REFINED_WIDTH = 2.5;
const MAX_REFINED_SIDE = 640;
const TILE_OVERLAP = 64;
const CHECKED_IOU = 0.5;
const FRAMES_PER_CHECK = 10;

/**
 * Finds the faces in one image, in descending order of score.
 *
 * @param {Networks} networks
 * @param {Pixels} image RGB.
 * @returns {Promise<Detection[]>}
 */
export async function detect(networks, image) {
  const cells = await findCells(networks, image, MAX_INPUT_SIDE, MIN_TILTED_CANDIDATE_SCORE);
  const strong = merged(cells.filter(({ score }) => score >= MIN_CANDIDATE_SCORE));
  const candidates = await withSmallFaces(networks, image, strong);
  const found = await checkAll(networks, image, candidates);
  const isCertain = found.some((face, i) => Math.min(face.score, candidates[i].score) >= CERTAIN_SCORE);
  if (!isCertain) {
    const weak = merged(cells.filter(({ score }) => score < MIN_CANDIDATE_SCORE));
    found.push(...(await tiltedFaces(networks, image, weak)), ...(await turnedFaces(networks, image)));
  }
  return detections(networks, image, bestOf(found));
}

/** YuNet for the frames of one video, in order. */
export class YuNetVideo {
  /** @type {(Candidate & {age: number})[]} */
  #previous = [];

  /** @param {Networks} networks */
  constructor(networks) {
    this.networks = networks;
  }

  /**
   * Searches the whole frame.
   *
   * @param {Pixels} image RGB.
   * @returns {Promise<Candidate[]>} All candidates, with the scores of the second look.
   */
  async search(image) {
    const current = [];
    for (const candidate of await findCandidates(this.networks, image)) {
      const overlaps = this.#previous.map(({ values }) => iou(values, candidate.values));
      const same = this.#previous[overlaps.indexOf(Math.max(...overlaps))];
      const age = same && Math.max(...overlaps) > CHECKED_IOU ? (same.age + 1) % FRAMES_PER_CHECK : 0;
      const checked = age ? { ...same, values: candidate.values } : await checkOne(this.networks, image, candidate);
      current.push({ ...checked, age });
    }
    this.#previous = current;
    return current;
  }
}

/**
 * Looks at candidates a second time: replaces their scores, and turns those that are tilted.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate[]} candidates
 */
async function checkAll(networks, image, candidates) {
  const checked = [];
  for (const candidate of candidates) checked.push(await checkOne(networks, image, candidate));
  return checked;
}

/**
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate} candidate
 * @returns {Promise<Candidate>}
 */
async function checkOne({ centerface }, image, { values, angleDeg }) {
  const first = await check(centerface, image, values, angleDeg);
  if (first.score >= MIN_TILTED_SCORE && !isLevel(first.tiltDeg - angleDeg)) {
    const upright = await check(centerface, image, values, first.tiltDeg);
    if (upright.score >= MIN_TURN_RATIO * first.score) {
      return { values, score: upright.score, angleDeg: upright.tiltDeg };
    }
  }
  return { values, score: first.score, angleDeg };
}

/**
 * Keeps the candidates that are faces, and frames tilted ones as if they were upright.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate[]} checked Best first.
 * @returns {Promise<Detection[]>}
 */
export async function detections(networks, image, checked) {
  const faces = [];
  for (const face of checked) if (face.score >= MIN_SCORE) faces.push(await refined(networks, image, face));
  return faces;
}

/**
 * Searches a tilted face again in an upright view.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate} face
 * @returns {Promise<Detection>}
 */
async function refined(networks, image, face) {
  if (isLevel(face.angleDeg)) return toDetection(face.values, face.score);
  const [x, y] = middleOf(face.values);
  const half = (face.values[2] - face.values[0]) / 2;
  const landmarks = face.values.slice(4).map((value, i) => value - (i % 2 ? y : x));
  const own = () => turnedBack([-half, -half, half, half, ...landmarks], [x, y], face.angleDeg);
  return toDetection((await lookCloser(networks, image, face)) ?? own(), face.score);
}

/**
 * Searches a tilted face again in a view around it, in which it is upright.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate} face
 */
async function lookCloser(networks, image, { values, angleDeg }) {
  const [x, y] = middleOf(values);
  const side = (values[2] - values[0]) * REFINED_WIDTH;
  const wide = side * 0.75;
  const view = cropTurned(crop(image, [x - wide, y - wide, x + wide, y + wide], true), {
    side,
    angleDeg,
    maxSide: MAX_REFINED_SIDE,
  });
  return findInView(networks, view, values, { middle: [x, y], side, angleDeg });
}

/**
 * Searches a face in a square view of an image.
 *
 * @param {Networks} networks
 * @param {Pixels} view
 * @param {number[]} values The square of the face, and its landmarks.
 * @param {{middle: number[], side: number, angleDeg: number}} square The middle and the side of the view in pixels of the
 *   image, and the degrees counterclockwise by which it is turned.
 * @returns {Promise<number[] | null>} The square and the landmarks of what overlaps most with the face, in pixels of the
 *   image; null if nothing does.
 */
export async function findInView(networks, view, values, { middle, side, angleDeg }) {
  const scale = side / view.width;
  // Relative to the middle of the view, in pixels of the image.
  const found = (await findCandidates(networks, view)).map((each) =>
    each.values.map((value) => (value - view.width / 2) * scale),
  );
  const half = (values[2] - values[0]) / 2;
  const own = [-half, -half, half, half];
  const best = found.sort((a, b) => iou(b, own) - iou(a, own))[0];
  return best && iou(best, own) >= NMS_IOU ? turnedBack(best, middle, angleDeg) : null;
}

/**
 * Maps a face from an upright view to the image.
 *
 * @param {number[]} upright The square and the landmarks, relative to the middle of the view.
 * @param {number[]} middle The middle of the view in the image.
 * @param {number} angleDeg Degrees counterclockwise by which the view is turned.
 */
function turnedBack(upright, [x, y], angleDeg) {
  const [cos, sin] = [Math.cos((angleDeg * Math.PI) / 180), Math.sin((angleDeg * Math.PI) / 180)];
  /** @type {(px: number, py: number) => [number, number]} */
  const turnBack = (px, py) => [x + px * cos - py * sin, y + px * sin + py * cos]; // y points down
  const [cx, cy] = turnBack((upright[0] + upright[2]) / 2, (upright[1] + upright[3]) / 2);
  const halfSide = (upright[2] - upright[0]) / 2;
  const turned = [cx - halfSide, cy - halfSide, cx + halfSide, cy + halfSide];
  for (let i = 4; i < upright.length; i += 2) turned.push(...turnBack(upright[i], upright[i + 1]));
  return turned;
}

/** @param {number[]} values */
export function middleOf(values) {
  return [(values[0] + values[2]) / 2, (values[1] + values[3]) / 2];
}

/**
 * @param {number[]} values
 * @param {number} score
 * @returns {Detection}
 */
export function toDetection(values, score) {
  return {
    box: [values[0], values[1], values[2], values[3]],
    landmarks: Object.fromEntries(LANDMARKS.map((name, i) => [name, [values[4 + 2 * i], values[5 + 2 * i]]])),
    score,
  };
}

/**
 * Searches the parts of a large image at twice the scale where the candidates in the whole promise more.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate[]} whole
 */
async function withSmallFaces(networks, image, whole) {
  const longer = Math.max(image.width, image.height);
  const small = whole.filter(({ values }) => ((values[2] - values[0]) * MAX_INPUT_SIDE) / longer < CROWD_SIDE);
  if (longer <= MAX_INPUT_SIDE || small.length < CROWD_FACES) return whole;
  const found = [...whole];
  for (const [x0, y0, x1, y1] of tiles(image.width, image.height)) {
    for (const each of await findCandidates(networks, crop(image, [x0, y0, x1, y1], true))) {
      found.push({ ...each, values: each.values.map((value, i) => value + (i % 2 ? y0 : x0)) });
    }
  }
  return bestOf(found);
}

/**
 * Checks candidates that are too weak for upright faces, and keeps those that are tilted.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 * @param {Candidate[]} weak Best first.
 */
async function tiltedFaces(networks, image, weak) {
  const faces = await checkAll(networks, image, weak.slice(0, MAX_TILTED_CANDIDATES));
  return faces.filter(({ angleDeg, score }) => !isLevel(angleDeg) && score >= MIN_TURNED_SCORE);
}

/**
 * Searches copies of the image turned by one, two and three quarters, and checks what is found.
 *
 * @param {Networks} networks
 * @param {Pixels} image
 */
async function turnedFaces(networks, image) {
  const glance = new TurnedCopies(image, GLANCE_SIDE, [1, 2, 3]);
  const seen = await findCells(networks, glance.canvas, MAX_INPUT_SIDE, MIN_GLANCE_SCORE);
  const turns = [...new Set(seen.map(({ values }) => glance.turnsOf(values)))].sort();
  if (!turns.length) return [];
  const copies = new TurnedCopies(image, TURNED_SIDE, turns);
  const faces = [];
  for (const { values, score } of await findCandidates(networks, copies.canvas, MIN_TURNED_CANDIDATE_SCORE)) {
    const turned = { values: copies.inImage(values), score, angleDeg: 90 * copies.turnsOf(values) };
    const face = await checkOne(networks, image, turned);
    if (face.score >= MIN_TURNED_SCORE) faces.push(face);
  }
  return faces;
}

/**
 * Returns the parts of a large image that are searched one by one: half as long as the image, and overlapping.
 *
 * @param {number} width
 * @param {number} height
 * @returns {Box[]}
 */
function tiles(width, height) {
  const half = Math.ceil(Math.max(width, height) / 2);
  const side = half + round((TILE_OVERLAP * half) / MAX_INPUT_SIDE);
  const [columns, rows] = [width, height].map((length) => (length > side ? [0, length - side] : [0]));
  return rows.flatMap((y0) =>
    columns.map((x0) => /** @type {Box} */ ([x0, y0, Math.min(width, x0 + side), Math.min(height, y0 + side)])),
  );
}

/**
 * Keeps the best of the candidates that overlap, best first.
 *
 * @param {Candidate[]} found
 */
function bestOf(found) {
  /** @type {Candidate[]} */
  const kept = [];
  for (const candidate of [...found].sort((a, b) => b.score - a.score)) {
    if (kept.every(({ values }) => iou(values, candidate.values) <= NMS_IOU)) kept.push(candidate);
  }
  return kept;
}
