/**
 * The worker of the browser's engine: detects, crops and classifies faces like `mien/recognition/recognizer.py`,
 * without blocking the page.
 */

import { BackgroundSearch } from "./background_search.js";
import { Classifier } from "./classifier.js";
import { fetchFile } from "./download.js";
import { Follower } from "./follower.js";
import { readMetadata } from "./metadata.js";
import { createSession, initRuntime, openDetector, ort } from "./networks.js";
import { cropGray, decode, readPixels } from "./pixels.js";
import { answerTasks } from "./tasks.js";
import { turnDeg } from "./tilt.js";
import { YuNetVideo, detect, detections } from "./yunet.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./yunet.js").Detection} Detection */

const MAX_THREADS = 4;

/** @type {{classifier: Classifier, detector: import("./yunet.js").Networks}} */
let models;
/** The faces of the camera or a video. @type {Follower} */
let follower;
/** @type {BackgroundSearch} */
let background;

/**
 * Loads the model and the face detector.
 *
 * @typedef {object} OpenTask
 * @property {string} name
 * @property {string} classifier The address of the model.
 * @property {{yunet: string, centerface: string}} detector The addresses of the detector's networks.
 * @property {Record<string, string>} headers
 * @property {number} [threads]
 *
 * Posts {bytes} for each part of a file that has arrived.
 *
 * @param {OpenTask} task
 */
async function open({ name, classifier, detector, headers, threads }) {
  initRuntime(threads ?? Math.min(navigator.hardwareConcurrency - 1, MAX_THREADS)); // leaves one core for drawing
  // The largest file is downloaded while WebAssembly is compiled for the smaller ones.
  const [file, { files, networks }] = await Promise.all([
    fetchFile(classifier, headers, postProgress),
    fetchDetector(detector, headers).then(async (files) => ({ files, networks: await openDetector(files) })),
  ]);
  const metadata = readMetadata(file, name);
  models = { classifier: new Classifier(ort, await createSession(file, name), metadata), detector: networks };
  follower = new Follower(networks);
  background = new BackgroundSearch(files);
  return { maskCount: models.classifier.maskNames.length };
}

/** @param {number} bytes */
function postProgress(bytes) {
  self.postMessage({ bytes });
}

/**
 * @param {OpenTask["detector"]} detector
 * @param {Record<string, string>} headers
 */
async function fetchDetector({ yunet, centerface }, headers) {
  const [first, second] = await Promise.all([fetchFile(yunet, headers, postProgress), fetchFile(centerface, headers, postProgress)]);
  return { yunet: first, centerface: second };
}

/** @param {{picture: Blob, name: string}} task */
async function recognisePicture({ picture, name }) {
  const bitmap = await decode(picture, name);
  try {
    const image = readPixels(bitmap);
    return await classify(bitmap, (await detect(models.detector, image)).map((detection) => wholeOf(image, detection)));
  } finally {
    bitmap.close();
  }
}

/** @param {{frame: ImageBitmap, first: boolean}} task */
async function recogniseFrame({ frame, first }) {
  return { ...(await classify(frame, first ? await searchHere(frame, true) : await follow(frame))), frame };
}

/**
 * Follows the known faces, and lets another worker search the whole frame from time to time.
 *
 * @param {ImageBitmap} frame
 */
async function follow(frame) {
  const found = background.take();
  if (found) follower.update(found);
  if (background.isDue(follower.isEmpty)) {
    if (background.failed) return searchHere(frame, false);
    background.start(readPixels(frame));
  }
  return follower.follow(frame);
}

/**
 * Searches the whole frame at once.
 *
 * @param {ImageBitmap} frame
 * @param {boolean} first Whether the frame does not follow the one before it.
 */
async function searchHere(frame, first) {
  if (first) {
    follower = new Follower(models.detector);
    background.restart();
  }
  const image = readPixels(frame);
  const checked = await new YuNetVideo(models.detector).search(image);
  follower.update(checked);
  const bestFirst = checked.sort((a, b) => b.score - a.score);
  return (await detections(models.detector, image, bestFirst)).map((detection) => wholeOf(image, detection));
}

/**
 * @param {Pixels} image
 * @param {Detection} detection
 * @returns {import("./follower.js").Sighting}
 */
function wholeOf(image, detection) {
  return { detection, surroundings: image, left: 0, top: 0 };
}

/**
 * @param {{width: number, height: number}} image
 * @param {import("./follower.js").Sighting[]} sightings
 * @returns {Promise<Answer>}
 */
async function classify({ width, height }, sightings) {
  const sorted = sightings.sort((a, b) => a.detection.box[0] - b.detection.box[0]);
  const started = performance.now();
  const crops = sorted.map(({ detection: { box: [x0, y0, x1, y1], landmarks }, surroundings, left, top }) =>
    cropGray(surroundings, [x0 - left, y0 - top, x1 - left, y1 - top], turnDeg(landmarks)),
  );
  const results = await models.classifier.classify(crops);
  return {
    width,
    height,
    faces: sorted.map(({ detection }, i) => ({ ...detection, ...results[i].expression, masks: results[i].masks })),
    faces_ms: performance.now() - started,
  };
}

answerTasks({ open, recognisePicture, recogniseFrame });
