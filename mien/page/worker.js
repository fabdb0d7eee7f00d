/**
 * The worker of the browser's engine: detects, crops and classifies faces like `mien/recognition/recognizer.py`,
 * without blocking the page.
 *
 * It answers each message {id, task, ...} with {id, result} or {id, error}, in order.
 */

import { Classifier } from "./classifier.js";
import { PageError, sentenceOf } from "./errors.js";
import { readMetadata } from "./metadata.js";
import { cropGray, decode, readPixels } from "./pixels.js";
import { turnDeg } from "./tilt.js";
import * as ort from "./vendor/ort.wasm.min.mjs";
import { YuNetVideo, detect } from "./yunet.js";

/** @typedef {import("./types.js").Answer} Answer */

const MAX_THREADS = 4;

const threads = Math.min(navigator.hardwareConcurrency - 1, MAX_THREADS); // leaves one core for drawing
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.max(threads, 1) : 1;
ort.env.logLevel = "error"; // its warnings do not concern the user

/** @type {{classifier: Classifier, detector: import("./yunet.js").Networks}} */
let models;
/** The detector for the frames of the camera or a video. @type {YuNetVideo} */
let videoDetector;

/**
 * Loads the model and the face detector.
 *
 * @typedef {object} OpenTask
 * @property {string} name
 * @property {string} classifier The address of the model.
 * @property {string[]} detector The addresses of YuNet and CenterFace.
 * @property {Record<string, string>} headers
 * @property {number} [threads]
 *
 * @param {OpenTask} task
 */
async function open({ name, classifier, detector, headers, threads }) {
  if (threads) ort.env.wasm.numThreads = threads;
  // The larger file is downloaded while WebAssembly is compiled for the smaller one.
  const [file, yunet, centerface] = await Promise.all([
    fetchFile(classifier, headers),
    ...detector.map(async (url) => runOf(await createSession(await fetchFile(url, headers), "of the face detector"))),
  ]);
  const metadata = readMetadata(file, name);
  models = {
    classifier: new Classifier(ort, await createSession(file, name), metadata),
    detector: { yunet, centerface },
  };
  videoDetector = new YuNetVideo(models.detector);
  return { maskCount: models.classifier.maskNames.length };
}

/**
 * @param {Uint8Array} file
 * @param {string} name
 */
async function createSession(file, name) {
  try {
    return await ort.InferenceSession.create(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new PageError(`This browser cannot run the model ${name} (${reason}); update the browser.`);
  }
}

/**
 * @param {any} session
 * @returns {import("./face_check.js").Run}
 */
function runOf(session) {
  return (images, shape) => session.run({ [session.inputNames[0]]: new ort.Tensor("float32", images, shape) });
}

/** @param {{picture: Blob, name: string}} task */
async function recognisePicture({ picture, name }) {
  const bitmap = await decode(picture, name);
  try {
    const image = readPixels(bitmap);
    return await classify(image, await detect(models.detector, image));
  } finally {
    bitmap.close();
  }
}

/** @param {{frame: ImageBitmap, first: boolean}} task */
async function recogniseFrame({ frame, first }) {
  if (first) videoDetector = new YuNetVideo(models.detector);
  const image = readPixels(frame);
  return { ...(await classify(image, await videoDetector.detect(image))), frame };
}

/**
 * @param {import("./types.js").Pixels} image
 * @param {import("./yunet.js").Detection[]} detections
 * @returns {Promise<Answer>}
 */
async function classify(image, detections) {
  const sorted = detections.sort((a, b) => a.box[0] - b.box[0]);
  const started = performance.now();
  const results = await models.classifier.classify(sorted.map(({ box, landmarks }) => cropGray(image, box, turnDeg(landmarks))));
  return {
    width: image.width,
    height: image.height,
    faces: sorted.map((detection, i) => ({ ...detection, ...results[i].expression, masks: results[i].masks })),
    faces_ms: performance.now() - started,
  };
}

/**
 * @param {string} url
 * @param {Record<string, string>} headers
 */
async function fetchFile(url, headers) {
  const name = decodeURIComponent(new URL(url).pathname.split("/").pop() ?? url);
  let response;
  try {
    response = await fetch(url, { headers });
  } catch {
    throw new PageError(`The model ${name} could not be downloaded; check the connection and reload the page.`);
  }
  if (!response.ok) {
    throw new PageError(`The model ${name} is missing on the host (status ${response.status}); put it there.`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

const TASKS = { open, recognisePicture, recogniseFrame };
let previous = Promise.resolve();

self.onmessage = ({ data }) => {
  previous = previous.then(async () => {
    try {
      const result = await TASKS[/** @type {keyof typeof TASKS} */ (data.task)](data);
      const transfer = "frame" in result ? [/** @type {ImageBitmap} */ (result.frame)] : [];
      self.postMessage({ id: data.id, result }, { transfer });
    } catch (error) {
      self.postMessage({ id: data.id, error: sentenceOf(error) });
    }
  });
};
