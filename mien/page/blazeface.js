/**
 * BlazeFace, full range: the counterpart of `mien/detection/blazeface.py`, which explains each constant and each step.
 * A test compares the faces that both find.
 */

import { area, intersection, iou, toFer2013Square, weightedNms } from "./boxes.js";
import { resize, round } from "./pixels.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */
/** @typedef {import("./boxes.js").Candidate} Candidate */
/** @typedef {{x0: number, y0: number, side: number}} Region A square region of an image, in its pixels. */
/** @typedef {{box: Box, landmarks: Record<string, [number, number]>, score: number}} Detection */
/** @typedef {(images: Float32Array, shape: number[]) => Promise<Record<string, {data: Float32Array}>>} Run */

const SIZE = 192;
const STRIDE = 4;
const LANDMARKS = ["right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear"];
const MIN_SCORE = 0.6;
const MIN_CANDIDATE_SCORE = 0.4;
const MIN_CONFIDENT_SIDE = 1 / 8;
const NMS_IOU = 0.3;
const BORDER = 0.2;
const MAX_NESTED_FRACTION = 0.7;
const MARGIN = 0.12;
const LIFT = 0.05;
const MAX_TILES = 36;
const FRAMES_PER_CYCLE = 11;
const MAX_ZOOMS = 48;
const ZOOM_SIDES = 4;
const TILE_OVERLAP = 0.25;

/**
 * Finds the faces in one image, in descending order of score.
 *
 * @param {Run} run The network: `images` (1, 3, 192, 192) in [-1, 1] -> `boxes` (1, 2304, 16), `scores` (1, 2304, 1).
 * @param {Pixels} image RGB.
 * @returns {Promise<Detection[]>}
 */
export async function detect(run, image) {
  const { width, height } = image;
  return (await search(run, image, wholeImageRegions(width, height), tileRegions(width, height), [])).map(toDetection);
}

/** BlazeFace for the frames of one video, in order. */
export class BlazeFaceVideo {
  #width = 0;
  #height = 0;
  #nextRegion = 0;
  /** @type {Candidate[]} */
  #previous = [];

  /** @param {Run} run See `detect`. */
  constructor(run) {
    this.run = run;
  }

  /**
   * @param {Pixels} image RGB.
   * @returns {Promise<Detection[]>}
   */
  async detect(image) {
    const { width, height } = image;
    const [whole, tiles] = [wholeImageRegions(width, height), tileRegions(width, height)];
    if (this.#width !== width || this.#height !== height) {
      [this.#width, this.#height, this.#nextRegion] = [width, height, 0];
      this.#previous = await search(this.run, image, whole, tiles, []);
    } else {
      const parts = this.#regionsOfThisFrame([...whole.slice(1), ...tiles]);
      this.#previous = await search(this.run, image, whole.slice(0, 1), parts, this.#previous);
    }
    return this.#previous.map(toDetection);
  }

  /**
   * Takes the next regions in turn, as many as complete a cycle in FRAMES_PER_CYCLE frames.
   *
   * @param {Region[]} regions
   */
  #regionsOfThisFrame(regions) {
    const first = this.#nextRegion;
    const count = Math.ceil(regions.length / FRAMES_PER_CYCLE);
    this.#nextRegion += count;
    return Array.from({ length: count }, (_, i) => regions[(first + i) % regions.length]);
  }
}

/**
 * Finds the faces in regions of one image, with the network's own boxes, in descending order of score.
 *
 * @param {Run} run
 * @param {Pixels} image
 * @param {Region[]} whole Regions that show the whole image. A large face with a good score is accepted at once there.
 * @param {Region[]} parts Regions that show parts of the image. Every candidate there is zoomed in on.
 * @param {Candidate[]} previous The faces of the previous frame. If one is missing, the region around it is searched.
 */
async function search(run, image, whole, parts, previous) {
  const inWhole = await searchAll(run, image, whole);
  const minSide = MIN_CONFIDENT_SIDE * Math.max(image.width, image.height);
  /** @param {Candidate} each */
  const isAccepted = (each) => each.score >= MIN_SCORE && each.values[2] - each.values[0] >= minSide;
  const accepted = inWhole.filter(isAccepted);
  const inParts = await searchAll(run, image, parts);
  const uncertain = weightedNms([...inWhole.filter((each) => !isAccepted(each)), ...inParts], NMS_IOU);
  const zoomed = await zoomIn(run, image, uncertain, accepted, MAX_ZOOMS);
  const faces = [...accepted, ...zoomed.faces];
  const followed = await zoomIn(run, image, previous, faces, MAX_ZOOMS - zoomed.count, true);
  return dropNested(weightedNms([...faces, ...followed.faces], NMS_IOU));
}

/**
 * @param {Run} run
 * @param {Pixels} image
 * @param {Region[]} regions
 */
async function searchAll(run, image, regions) {
  const candidates = [];
  for (const region of regions) candidates.push(...(await searchRegion(run, image, region, MIN_CANDIDATE_SCORE)));
  return candidates;
}

/**
 * @param {Candidate} face
 * @returns {Detection}
 */
function toDetection({ values, score }) {
  return {
    box: toFer2013Square(values, MARGIN, LIFT),
    landmarks: Object.fromEntries(LANDMARKS.map((name, i) => [name, [values[4 + 2 * i], values[5 + 2 * i]]])),
    score,
  };
}

/**
 * Searches a small region around each candidate that does not overlap a known face. Returns the faces there, and the
 * number of searched regions.
 *
 * @param {Run} run
 * @param {Pixels} image
 * @param {Candidate[]} candidates Best first.
 * @param {Candidate[]} known Faces that are already found.
 * @param {number} maxZooms The most regions to search.
 * @param {boolean} [moved] Whether to take any face in the region, instead of only one that overlaps the candidate.
 */
async function zoomIn(run, image, candidates, known, maxZooms, moved = false) {
  const unknown = candidates.filter(({ values }) => known.every((each) => iou(each.values, values) <= NMS_IOU));
  const searched = unknown.slice(0, maxZooms);
  const faces = [];
  for (const { values } of searched) {
    const [x0, y0, x1, y1] = values;
    const side = ZOOM_SIDES * Math.max(x1 - x0, y1 - y0);
    const region = { x0: (x0 + x1 - side) / 2, y0: (y0 + y1 - side) / 2, side };
    const found = await searchRegion(run, image, region, MIN_SCORE);
    faces.push(...found.filter((each) => moved || iou(each.values, values) > NMS_IOU));
  }
  return { faces, count: searched.length };
}

/**
 * Runs the network on one region and returns its candidates in pixels of the image.
 *
 * @param {Run} run
 * @param {Pixels} image
 * @param {Region} region
 * @param {number} minScore
 * @returns {Promise<Candidate[]>}
 */
async function searchRegion(run, image, region, minScore) {
  // The part of the region inside the image, and its place in the input: whole pixels in both.
  const scale = SIZE / region.side;
  const x0 = Math.max(0, round(region.x0));
  const y0 = Math.max(0, round(region.y0));
  const x1 = Math.min(image.width, Math.max(x0 + 1, round(region.x0 + region.side)));
  const y1 = Math.min(image.height, Math.max(y0 + 1, round(region.y0 + region.side)));
  const columns = Math.min(SIZE, Math.max(1, round((x1 - x0) * scale)));
  const rows = Math.min(SIZE, Math.max(1, round((y1 - y0) * scale)));
  const left = Math.min(SIZE - columns, Math.max(0, round((x0 - region.x0) * scale)));
  const top = Math.min(SIZE - rows, Math.max(0, round((y0 - region.y0) * scale)));
  const images = toInput(resize(image, columns, rows, [x0, y0, x1, y1]), left, top);

  const { boxes, scores } = await run(images, [1, 3, SIZE, SIZE]);
  const candidates = decode(boxes.data, scores.data, minScore);
  for (const { values } of candidates) {
    for (let i = 0; i < values.length; i += 2) {
      values[i] = (values[i] - left) * ((x1 - x0) / columns) + x0;
      values[i + 1] = (values[i + 1] - top) * ((y1 - y0) / rows) + y0;
    }
  }
  // A face that the region cuts off is whole in the neighbouring tile or in the whole image.
  return candidates.filter(
    ({ values }) =>
      (x0 <= 0 || values[0] > x0) &&
      (y0 <= 0 || values[1] > y0) &&
      (x1 >= image.width || values[2] < x1) &&
      (y1 >= image.height || values[3] < y1),
  );
}

/**
 * Places an image on black and converts it to the network's input.
 *
 * @param {Pixels} image
 * @param {number} left
 * @param {number} top
 */
function toInput(image, left, top) {
  const images = new Float32Array(3 * SIZE * SIZE).fill(-1);
  for (let row = 0, from = 0; row < image.height; row++) {
    for (let column = 0; column < image.width; column++) {
      const to = (top + row) * SIZE + left + column;
      for (let channel = 0; channel < 3; channel++, from++) {
        images[channel * SIZE * SIZE + to] = image.data[from] / 127.5 - 1;
      }
    }
  }
  return images;
}

/**
 * Returns the regions that show a whole image: edge to edge, and with a border.
 *
 * @param {number} width
 * @param {number} height
 * @returns {Region[]}
 */
function wholeImageRegions(width, height) {
  return [0, BORDER].map((border) => {
    const side = Math.max(width, height) * (1 + 2 * border);
    return { x0: (width - side) / 2, y0: (height - side) / 2, side };
  });
}

/**
 * Returns the tiles of an image, row by row. The first level of tiles has half the image's longer side, the next a
 * quarter, and so on.
 *
 * @param {number} width
 * @param {number} height
 * @returns {Region[]}
 */
function tileRegions(width, height) {
  /** @type {Region[]} */
  const regions = [];
  for (let side = Math.max(width, height) / 2; side >= SIZE; side /= 2) {
    const columns = tileCount(width, side);
    const rows = tileCount(height, side);
    if (regions.length + columns * rows > MAX_TILES) break;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const x0 = (width - side) * positionOf(column, columns);
        regions.push({ x0, y0: (height - side) * positionOf(row, rows), side });
      }
    }
  }
  return regions;
}

/**
 * Returns how many tiles cover a length if neighbours overlap by at least TILE_OVERLAP of a side.
 *
 * @param {number} length
 * @param {number} side
 */
function tileCount(length, side) {
  return Math.max(1, Math.ceil((length / side - TILE_OVERLAP) / (1 - TILE_OVERLAP)));
}

/**
 * Returns the position of a tile from 0, the near edge, to 1, the far edge; a single tile is in the middle.
 *
 * @param {number} index
 * @param {number} count
 */
function positionOf(index, count) {
  return count > 1 ? index / (count - 1) : 0.5;
}

/**
 * Decodes the network's output to candidates in pixels of its input.
 *
 * @param {Float32Array} boxes (2304, 16)
 * @param {Float32Array} logits (2304,)
 * @param {number} minScore
 * @returns {Candidate[]}
 */
function decode(boxes, logits, minScore) {
  const cells = SIZE / STRIDE;
  const candidates = [];
  for (let i = 0; i < logits.length; i++) {
    const score = 1 / (1 + Math.exp(-Math.min(Math.max(logits[i], -100), 100)));
    const raw = boxes.subarray(i * 16, i * 16 + 16);
    if (score < minScore || raw[2] <= 0 || raw[3] <= 0) continue;
    const anchor = [((i % cells) + 0.5) * STRIDE, (Math.floor(i / cells) + 0.5) * STRIDE];
    const [x, y] = [raw[0] + anchor[0], raw[1] + anchor[1]];
    const values = [x - raw[2] / 2, y - raw[3] / 2, x + raw[2] / 2, y + raw[3] / 2];
    for (let j = 4; j < 16; j++) values.push(raw[j] + anchor[j % 2]);
    candidates.push({ values, score });
  }
  return candidates;
}

/**
 * Drops each box that lies inside or around a box with a better score.
 *
 * @param {Candidate[]} faces In descending order of score.
 */
function dropNested(faces) {
  /** @type {Candidate[]} */
  const kept = [];
  for (const { values, score } of faces) {
    /** @param {Candidate} better */
    const isSeparate = (better) => {
      const smaller = Math.min(area(better.values), area(values));
      return intersection(better.values, values) <= MAX_NESTED_FRACTION * smaller;
    };
    if (kept.every(isSeparate)) kept.push({ values, score });
  }
  return kept;
}
