/**
 * The worker of the browser's engine: detects, crops and classifies faces like `mien/recognition/recognizer.py`,
 * without blocking the page.
 *
 * It answers each message {id, task, ...} with {id, result} or {id, error}, in order.
 */

import { BlazeFaceVideo, detect } from "./blazeface.js";
import { Classifier } from "./classifier.js";
import { PageError, sentenceOf } from "./errors.js";
import { readMetadata } from "./metadata.js";
import { cropGray, decode, readPixels } from "./pixels.js";
import * as ort from "./vendor/ort.wasm.min.mjs";

/** @typedef {import("./types.js").Answer} Answer */

const MAX_THREADS = 4;

const threads = Math.min(navigator.hardwareConcurrency - 1, MAX_THREADS); // leaves one core for drawing
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.max(threads, 1) : 1;
ort.env.logLevel = "error"; // its warnings do not concern the user

/** @type {{classifier: Classifier, runDetector: import("./blazeface.js").Run}} */
let models;
/** The detector for the frames of the camera or a video. @type {BlazeFaceVideo} */
let videoDetector;

/**
 * Loads the model and the face detector.
 *
 * @param {{name: string, classifier: string, detector: string, headers: Record<string, string>, threads?: number}} task
 */
async function open({ name, classifier, detector, headers, threads }) {
  if (threads) ort.env.wasm.numThreads = threads;
  // The larger file is downloaded while WebAssembly is compiled for the smaller one.
  const [session, file] = await Promise.all([
    fetchFile(detector, headers).then((bytes) => createSession(bytes, "of the face detector")),
    fetchFile(classifier, headers),
  ]);
  const metadata = readMetadata(file, name);
  models = {
    classifier: new Classifier(ort, await createSession(file, name), metadata),
    runDetector: (images, shape) => session.run({ images: new ort.Tensor("float32", images, shape) }),
  };
  videoDetector = new BlazeFaceVideo(models.runDetector);
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

/** @param {{picture: Blob, name: string}} task */
async function recognisePicture({ picture, name }) {
  const bitmap = await decode(picture, name);
  try {
    const image = readPixels(bitmap);
    return await classify(image, await detect(models.runDetector, image));
  } finally {
    bitmap.close();
  }
}

/** @param {{frame: ImageBitmap, first: boolean}} task */
async function recogniseFrame({ frame, first }) {
  if (first) videoDetector = new BlazeFaceVideo(models.runDetector);
  const image = readPixels(frame);
  return { ...(await classify(image, await videoDetector.detect(image))), frame };
}

/**
 * @param {import("./types.js").Pixels} image
 * @param {import("./blazeface.js").Detection[]} detections
 * @returns {Promise<Answer>}
 */
async function classify(image, detections) {
  const sorted = detections.sort((a, b) => a.box[0] - b.box[0]);
  const started = performance.now();
  const results = await models.classifier.classify(sorted.map(({ box }) => cropGray(image, box)));
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
