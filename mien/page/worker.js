/**
 * The worker of the browser's engine: detects, crops and classifies faces like `mien/recognition/recognizer.py`,
 * without blocking the page.
 */

import { BackgroundSearch } from "./background_search.js";
import { Classifier } from "./classifier.js";
import { fetchFile } from "./download.js";
import { Follower } from "./follower.js";
import { FrameCanvas } from "./frame_canvas.js";
import { readMetadata } from "./metadata.js";
import { createSession, initRuntime, openDetector, ort } from "./networks.js";
import { cropGray, decode, readPixels } from "./pixels.js";
import { answerTasks } from "./tasks.js";
import { turnDeg } from "./tilt.js";
import { YuNetVideo, detect, detections, toDetection } from "./yunet.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./yunet.js").Detection} Detection */

const MAX_THREADS = 4;
const SLOW_MS = 250; // between two frames: then a lost face is searched at once, and not in the background
const FRAMES_PER_EXPRESSION = 4; // each followed face is classified at least in every fourth frame

/** @type {{classifier: Classifier, detector: import("./yunet.js").Networks}} */
let models;
/** The faces of the camera or a video. @type {Follower} */
let follower;
/** @type {BackgroundSearch} */
let background;
const canvas = new FrameCanvas();
/** When the last frame was followed. */
let lastFrame_ms = 0;

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
  const fetching = [yunet, centerface].map((url) => fetchFile(url, headers, postProgress));
  const [first, second] = await Promise.all(fetching);
  return { yunet: first, centerface: second };
}

/** @param {{picture: Blob, name: string}} task */
async function recognisePicture({ picture, name }) {
  const bitmap = await decode(picture, name);
  try {
    const image = readPixels(bitmap);
    return await classifyAll(image, await detect(models.detector, image));
  } finally {
    bitmap.close();
  }
}

/** @param {{frame: ImageBitmap, first: boolean}} task */
async function recogniseFrame({ frame, first }) {
  if (first) {
    follower = new Follower(models.detector);
    background.restart();
  } else {
    const found = background.take();
    if (found) follower.update(found);
  }
  canvas.load(frame);
  const isDue = !first && background.isDue(follower.isEmpty);
  if (first || (isDue && background.failed)) return { ...(await searchHere()), frame };
  if (isDue) background.start(canvas.pixels());
  const followed = await follower.follow(canvas);
  const wasSlow = performance.now() - lastFrame_ms > SLOW_MS;
  lastFrame_ms = performance.now();
  // On a slow machine, a face moves far from one frame to the next.
  return { ...(await (wasSlow && follower.hasLost ? searchHere() : classifyFollowed(followed))), frame };
}

/** Searches the whole frame at once. */
async function searchHere() {
  const image = canvas.pixels();
  const checked = await new YuNetVideo(models.detector).search(image);
  follower.update(checked);
  const bestFirst = checked.sort((a, b) => b.score - a.score);
  return classifyAll(image, await detections(models.detector, image, bestFirst));
}

/**
 * Classifies all faces in an image.
 *
 * @param {Pixels} image
 * @param {Detection[]} found
 * @returns {Promise<Answer>}
 */
async function classifyAll(image, found) {
  const started = performance.now();
  const results = await models.classifier.classify(
    found.map(({ box, landmarks }) => cropGray(image, box, turnDeg(landmarks))),
  );
  return toAnswer(image, started, found.map((detection, i) => ({ detection, result: results[i] })));
}

/**
 * Classifies some of the followed faces: the new ones, and those whose expression is oldest.
 *
 * @param {import("./follower.js").Followed[]} followed
 * @returns {Promise<Answer>}
 */
async function classifyFollowed(followed) {
  const started = performance.now();
  const faces = followed.map((face) => ({ face, detection: toDetection(face.values, face.score) }));
  const known = faces.filter(({ face }) => face.result).sort((a, b) => b.face.age - a.face.age);
  const oldest = known.slice(0, Math.ceil(known.length / FRAMES_PER_EXPRESSION));
  const chosen = [...faces.filter(({ face }) => !face.result), ...oldest];
  const results = await models.classifier.classify(chosen.map(({ detection }) => cropFollowed(detection)));
  chosen.forEach(({ face }, i) => Object.assign(face, { result: results[i], age: 0 }));
  return toAnswer(canvas, started, faces.map(({ face: { result }, detection }) => ({ detection, result })));
}

/** @param {Detection} detection */
function cropFollowed({ box, landmarks }) {
  const angleDeg = turnDeg(landmarks);
  const margin = angleDeg ? (box[2] - box[0]) / 4 : 0; // a square that is turned is cut from a larger one
  const left = Math.min(Math.max(0, Math.floor(box[0] - margin) - 1), canvas.width - 1);
  const top = Math.min(Math.max(0, Math.floor(box[1] - margin) - 1), canvas.height - 1);
  const right = Math.max(left + 1, Math.min(canvas.width, Math.ceil(box[2] + margin) + 1));
  const bottom = Math.max(top + 1, Math.min(canvas.height, Math.ceil(box[3] + margin) + 1));
  const [x0, y0, x1, y1] = box;
  const surroundings = canvas.pixels([left, top, right, bottom]);
  return cropGray(surroundings, [x0 - left, y0 - top, x1 - left, y1 - top], angleDeg);
}

/**
 * @param {{width: number, height: number}} image
 * @param {number} started When classification started.
 * @param {{detection: Detection, result: any}[]} faces
 * @returns {Answer}
 */
function toAnswer({ width, height }, started, faces) {
  const sorted = faces.sort((a, b) => a.detection.box[0] - b.detection.box[0]);
  return {
    width,
    height,
    faces: sorted.map(({ detection, result: { expression, masks } }) => ({ ...detection, ...expression, masks })),
    faces_ms: performance.now() - started,
  };
}

answerTasks({ open, recognisePicture, recogniseFrame });
