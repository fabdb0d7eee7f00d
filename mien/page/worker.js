/**
 * The browser's own engine, in a worker so that the page never freezes: find, cut out, classify, as
 * `mien/recognition/recognizer.py` does.
 *
 * Each message {id, task, ...} is answered by {id, result} or {id, problem}, in order.
 */

import { Following, detect } from "./blazeface.js";
import { Classifier } from "./classifier.js";
import { readMetadata } from "./metadata.js";
import { cropGray, decode, read } from "./pixels.js";
import { Problem, sentenceOf } from "./problem.js";
import * as ort from "./vendor/ort.wasm.min.mjs";

/** @typedef {import("./types.js").Answer} Answer */

const MOST_THREADS = 4;

const free = Math.min(navigator.hardwareConcurrency - 1, MOST_THREADS); // one core is left to draw
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.max(free, 1) : 1;
ort.env.logLevel = "error"; // its warnings mean nothing to the person who looks for faces

/** @type {{classifier: Classifier, run: import("./blazeface.js").Run}} */
let models;
/** What finds the faces of the camera's or video's frames. @type {Following} */
let following;

/**
 * Opens both networks.
 *
 * @param {{name: string, classifier: string, detector: string, headers: Record<string, string>, threads?: number}} task
 */
async function open({ name, classifier, detector, headers, threads }) {
  if (threads) ort.env.wasm.numThreads = threads;
  // Both files are on their way while WebAssembly is compiled for the smaller one.
  const [session, file] = await Promise.all([
    fetched(detector, headers).then((bytes) => opened(bytes, "of the detector")),
    fetched(classifier, headers),
  ]);
  const metadata = readMetadata(file, name);
  models = {
    classifier: new Classifier(ort, await opened(file, name), metadata),
    run: (images, shape) => session.run({ images: new ort.Tensor("float32", images, shape) }),
  };
  following = new Following(models.run);
  return { masks: models.classifier.masks.length, threads: ort.env.wasm.numThreads };
}

/**
 * @param {Uint8Array} file
 * @param {string} name
 */
async function opened(file, name) {
  try {
    return await ort.InferenceSession.create(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Problem(`The model ${name} cannot be run in this browser (${reason}); update the browser.`);
  }
}

/** @param {{picture: Blob, name: string}} task */
async function picture({ picture, name }) {
  const bitmap = await decode(picture, name);
  try {
    const pixels = read(bitmap);
    return await classified(pixels, await detect(models.run, pixels));
  } finally {
    bitmap.close();
  }
}

/** @param {{frame: ImageBitmap, first: boolean}} task */
async function frame({ frame, first }) {
  if (first) following = new Following(models.run);
  const pixels = read(frame);
  return { ...(await classified(pixels, await following.detect(pixels))), frame };
}

/**
 * @param {import("./types.js").Pixels} pixels
 * @param {import("./blazeface.js").Detection[]} detections
 * @returns {Promise<Answer>}
 */
async function classified(pixels, detections) {
  const found = detections.sort((a, b) => a.box[0] - b.box[0]);
  const started = performance.now();
  const said = await models.classifier.classify(found.map(({ box }) => cropGray(pixels, box)));
  return {
    width: pixels.width,
    height: pixels.height,
    faces: found.map((detection, i) => ({ ...detection, ...said[i].expression, masks: said[i].masks })),
    faces_ms: performance.now() - started,
  };
}

/**
 * @param {string} url
 * @param {Record<string, string>} headers
 */
async function fetched(url, headers) {
  const name = decodeURIComponent(new URL(url).pathname.split("/").pop() ?? url);
  let response;
  try {
    response = await fetch(url, { headers });
  } catch {
    throw new Problem(`The model ${name} could not be fetched; check the connection and reload the page.`);
  }
  if (!response.ok) {
    throw new Problem(`The model ${name} is missing (${response.status}); whoever hosts this page must put it there.`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

const TASKS = { open, picture, frame };
let earlier = Promise.resolve();

self.onmessage = ({ data }) => {
  earlier = earlier.then(async () => {
    try {
      const result = await TASKS[/** @type {keyof typeof TASKS} */ (data.task)](data);
      const given = "frame" in result ? [/** @type {ImageBitmap} */ (result.frame)] : [];
      self.postMessage({ id: data.id, result }, { transfer: given });
    } catch (error) {
      self.postMessage({ id: data.id, problem: sentenceOf(error) });
    }
  });
};
