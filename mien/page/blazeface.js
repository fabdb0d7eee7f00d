/**
 * BlazeFace, full range: the browser's counterpart of `mien/detection/blazeface.py`, which explains each number and
 * each step. A test holds both to the same faces.
 */

import { area, framed, overlap, shared, suppressWeighted } from "./detect.js";
import { resize, round } from "./pixels.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */
/** @typedef {import("./detect.js").Candidate} Candidate */
/** @typedef {{x0: number, y0: number, side: number}} Look A square of the picture to show to the network. */
/** @typedef {{box: Box, landmarks: Record<string, [number, number]>, score: number}} Detection */
/** @typedef {(images: Float32Array, shape: number[]) => Promise<Record<string, {data: Float32Array}>>} Run */

const SIZE = 192;
const STRIDE = 4;
const LANDMARKS = ["right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear"];
const MIN_SCORE = 0.6;
const MIN_UNSURE_SCORE = 0.4;
const SURE_SIDE = 1 / 8;
const OVERLAP = 0.3;
const BORDER = 0.2;
const NESTED = 0.7;
const MARGIN = 0.12;
const LIFT = 0.05;
const MAX_TILES = 36;
const ROUND = 11;
const MAX_CLOSER_LOOKS = 48;
const CLOSER_LOOK = 4;
const TILE_OVERLAP = 0.25;

/**
 * The faces of one picture, by descending score.
 *
 * @param {Run} run The network: `images` (1, 3, 192, 192) in [-1, 1] -> `boxes` (1, 2304, 16), `scores` (1, 2304, 1).
 * @param {Pixels} picture RGB.
 * @returns {Promise<Detection[]>}
 */
export async function detect(run, picture) {
  const { width, height } = picture;
  return (await faces(run, picture, wholeLooks(width, height), tileLooks(width, height), [])).map(detection);
}

/** The faces of a video's pictures, one after the other. */
export class Following {
  #width = 0;
  #height = 0;
  #turn = 0;
  /** @type {Candidate[]} */
  #before = [];

  /** @param {Run} run As `detect` takes it. */
  constructor(run) {
    this.run = run;
  }

  /**
   * @param {Pixels} picture RGB.
   * @returns {Promise<Detection[]>}
   */
  async detect(picture) {
    const { width, height } = picture;
    const [whole, tiles] = [wholeLooks(width, height), tileLooks(width, height)];
    if (this.#width !== width || this.#height !== height) {
      [this.#width, this.#height, this.#turn] = [width, height, 0];
      this.#before = await faces(this.run, picture, whole, tiles, []);
    } else {
      const atTurn = this.#atTurn([...whole.slice(1), ...tiles]);
      this.#before = await faces(this.run, picture, whole.slice(0, 1), atTurn, this.#before);
    }
    return this.#before.map(detection);
  }

  /** @param {Look[]} looks */
  #atTurn(looks) {
    const turn = this.#turn;
    const turns = Math.ceil(looks.length / ROUND);
    this.#turn += turns;
    return Array.from({ length: turns }, (_, i) => looks[(turn + i) % looks.length]);
  }
}

/**
 * The faces of one picture, by descending score; their boxes are not framed yet.
 *
 * @param {Run} run
 * @param {Pixels} picture
 * @param {Look[]} looks Where to look at the whole; a large and clear face needs no closer look then.
 * @param {Look[]} narrow Where else to look; what is seen there always gets one.
 * @param {Candidate[]} before The faces of the picture before: one that is missing gets a closer look where it was.
 */
async function faces(run, picture, looks, narrow, before) {
  const wide = await lookAll(run, picture, looks);
  const least = SURE_SIDE * Math.max(picture.width, picture.height);
  /** @param {Candidate} each */
  const isSure = (each) => each.score >= MIN_SCORE && each.values[2] - each.values[0] >= least;
  const sure = wide.filter(isSure);
  const others = await lookAll(run, picture, narrow);
  const unsure = suppressWeighted([...wide.filter((each) => !isSure(each)), ...others], OVERLAP);
  const closer = await closerLooks(run, picture, unsure, sure, MAX_CLOSER_LOOKS);
  const known = [...sure, ...closer.found];
  const goneOn = await closerLooks(run, picture, before, known, MAX_CLOSER_LOOKS - closer.looks, true);
  return dropNested(suppressWeighted([...known, ...goneOn.found], OVERLAP));
}

/**
 * @param {Run} run
 * @param {Pixels} picture
 * @param {Look[]} looks
 */
async function lookAll(run, picture, looks) {
  const found = [];
  for (const look of looks) found.push(...(await candidates(run, picture, look, MIN_UNSURE_SCORE)));
  return found;
}

/**
 * A face with its box framed.
 *
 * @param {Candidate} face
 * @returns {Detection}
 */
function detection({ values, score }) {
  return {
    box: framed(values, MARGIN, LIFT),
    landmarks: Object.fromEntries(LANDMARKS.map((name, i) => [name, [values[4 + 2 * i], values[5 + 2 * i]]])),
    score,
  };
}

/**
 * The faces among candidates, best first, that are not among the known faces already, and how many looks that took.
 *
 * @param {Run} run
 * @param {Pixels} picture
 * @param {Candidate[]} perhaps
 * @param {Candidate[]} known
 * @param {number} most So many are looked at.
 * @param {boolean} [moved] Whether a face anywhere in the look is taken for the candidate.
 */
async function closerLooks(run, picture, perhaps, known, most, moved = false) {
  const fresh = perhaps.filter(({ values }) => known.every((each) => overlap(each.values, values) <= OVERLAP));
  const looked = fresh.slice(0, most);
  const found = [];
  for (const { values } of looked) {
    const [x0, y0, x1, y1] = values;
    const side = CLOSER_LOOK * Math.max(x1 - x0, y1 - y0);
    const look = { x0: (x0 + x1 - side) / 2, y0: (y0 + y1 - side) / 2, side };
    const seen = await candidates(run, picture, look, MIN_SCORE);
    found.push(...seen.filter((each) => moved || overlap(each.values, values) > OVERLAP));
  }
  return { found, looks: looked.length };
}

/**
 * What one look shows, in pixels of the picture.
 *
 * @param {Run} run
 * @param {Pixels} picture
 * @param {Look} look
 * @param {number} minScore
 * @returns {Promise<Candidate[]>}
 */
async function candidates(run, picture, look, minScore) {
  // The part of the picture that the square shows, and where it stands in the input: whole pixels in both.
  const scale = SIZE / look.side;
  const x0 = Math.max(0, round(look.x0));
  const y0 = Math.max(0, round(look.y0));
  const x1 = Math.min(picture.width, Math.max(x0 + 1, round(look.x0 + look.side)));
  const y1 = Math.min(picture.height, Math.max(y0 + 1, round(look.y0 + look.side)));
  const columns = Math.min(SIZE, Math.max(1, round((x1 - x0) * scale)));
  const rows = Math.min(SIZE, Math.max(1, round((y1 - y0) * scale)));
  const left = Math.min(SIZE - columns, Math.max(0, round((x0 - look.x0) * scale)));
  const top = Math.min(SIZE - rows, Math.max(0, round((y0 - look.y0) * scale)));
  const images = input(resize(picture, columns, rows, [x0, y0, x1, y1]), left, top);

  const { boxes, scores } = await run(images, [1, 3, SIZE, SIZE]);
  const found = decode(boxes.data, scores.data, minScore);
  for (const { values } of found) {
    for (let i = 0; i < values.length; i += 2) {
      values[i] = (values[i] - left) * ((x1 - x0) / columns) + x0;
      values[i + 1] = (values[i + 1] - top) * ((y1 - y0) / rows) + y0;
    }
  }
  // A face at a cut through the picture is seen whole by the neighbouring tile or by the look at everything.
  return found.filter(
    ({ values }) =>
      (x0 <= 0 || values[0] > x0) &&
      (y0 <= 0 || values[1] > y0) &&
      (x1 >= picture.width || values[2] < x1) &&
      (y1 >= picture.height || values[3] < y1),
  );
}

/**
 * A part of a picture on black, as the network takes it.
 *
 * @param {Pixels} shown
 * @param {number} left
 * @param {number} top
 */
function input(shown, left, top) {
  const images = new Float32Array(3 * SIZE * SIZE).fill(-1);
  for (let row = 0, from = 0; row < shown.height; row++) {
    for (let column = 0; column < shown.width; column++) {
      const to = (top + row) * SIZE + left + column;
      for (let channel = 0; channel < 3; channel++, from++) {
        images[channel * SIZE * SIZE + to] = shown.data[from] / 127.5 - 1;
      }
    }
  }
  return images;
}

/**
 * The two looks at everything: edge to edge, and with a border.
 *
 * @param {number} width
 * @param {number} height
 * @returns {Look[]}
 */
function wholeLooks(width, height) {
  return [0, BORDER].map((border) => {
    const side = Math.max(width, height) * (1 + 2 * border);
    return { x0: (width - side) / 2, y0: (height - side) / 2, side };
  });
}

/**
 * The looks at tiles, row by row: first of half the longer side, then of a quarter, and so on.
 *
 * @param {number} width
 * @param {number} height
 * @returns {Look[]}
 */
function tileLooks(width, height) {
  /** @type {Look[]} */
  const looks = [];
  for (let side = Math.max(width, height) / 2; side >= SIZE; side /= 2) {
    const columns = tilesAlong(width, side);
    const rows = tilesAlong(height, side);
    if (looks.length + columns * rows > MAX_TILES) break;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        looks.push({ x0: (width - side) * share(column, columns), y0: (height - side) * share(row, rows), side });
      }
    }
  }
  return looks;
}

/**
 * Tiles that cover a length so that neighbours share TILE_OVERLAP of a side or more.
 *
 * @param {number} length
 * @param {number} side
 */
function tilesAlong(length, side) {
  return Math.max(1, Math.ceil((length / side - TILE_OVERLAP) / (1 - TILE_OVERLAP)));
}

/**
 * Where the tile of that number stands, from 0, the near edge, to 1, the far edge; a single one in the middle.
 *
 * @param {number} number
 * @param {number} count
 */
function share(number, count) {
  return count > 1 ? number / (count - 1) : 0.5;
}

/**
 * The network's output -> candidates in pixels of its input.
 *
 * @param {Float32Array} boxes (2304, 16)
 * @param {Float32Array} logits (2304,)
 * @param {number} minScore
 * @returns {Candidate[]}
 */
function decode(boxes, logits, minScore) {
  const cells = SIZE / STRIDE;
  const found = [];
  for (let i = 0; i < logits.length; i++) {
    const score = 1 / (1 + Math.exp(-Math.min(Math.max(logits[i], -100), 100)));
    const raw = boxes.subarray(i * 16, i * 16 + 16);
    if (score < minScore || raw[2] <= 0 || raw[3] <= 0) continue;
    const anchor = [((i % cells) + 0.5) * STRIDE, (Math.floor(i / cells) + 0.5) * STRIDE];
    const [x, y] = [raw[0] + anchor[0], raw[1] + anchor[1]];
    const values = [x - raw[2] / 2, y - raw[3] / 2, x + raw[2] / 2, y + raw[3] / 2];
    for (let j = 4; j < 16; j++) values.push(raw[j] + anchor[j % 2]);
    found.push({ values, score });
  }
  return found;
}

/**
 * Drops boxes that lie in a surer one or around it.
 *
 * @param {Candidate[]} faces By descending score.
 */
function dropNested(faces) {
  /** @type {Candidate[]} */
  const kept = [];
  for (const face of faces) {
    const own = area(face.values);
    if (kept.every((each) => shared(each.values, face.values) <= NESTED * Math.min(area(each.values), own))) {
      kept.push(face);
    }
  }
  return kept;
}
