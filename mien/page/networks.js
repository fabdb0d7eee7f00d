/** Fetches networks and opens them in ONNX Runtime. Only workers import this module. */

import { PageError } from "./errors.js";
import * as ort from "./vendor/ort.wasm.min.mjs";

export { ort };

const OPENING_MS = 60_000; // the first network takes longest: ONNX Runtime loads and compiles its WebAssembly for it

/**
 * Sets up ONNX Runtime, before the first network is opened.
 *
 * @param {number} threads WebAssembly threads; without isolation there is always one.
 */
export function initRuntime(threads) {
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.max(threads, 1) : 1;
  ort.env.logLevel = "error"; // its warnings do not concern the user
}

/**
 * @param {Uint8Array} file
 * @param {string} name The name of the network in errors.
 */
export async function createSession(file, name) {
  let timer = 0;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(reject, OPENING_MS, new PageError("ONNX Runtime does not start; check the connection and try again."));
  });
  try {
    return await Promise.race([ort.InferenceSession.create(file), tooLong]);
  } catch (error) {
    if (error instanceof PageError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new PageError(`This browser cannot run the model ${name} (${reason}); update the browser.`);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Opens the face detector.
 *
 * @param {{yunet: Uint8Array, centerface: Uint8Array}} files
 * @returns {Promise<import("./yunet.js").Networks>}
 */
export async function openDetector({ yunet, centerface }) {
  const name = "of the face detector";
  return { yunet: runOf(await createSession(yunet, name)), centerface: runOf(await createSession(centerface, name)) };
}

/**
 * @param {any} session
 * @returns {import("./face_check.js").Run}
 */
function runOf(session) {
  return (images, shape) => session.run({ [session.inputNames[0]]: new ort.Tensor("float32", images, shape) });
}
