/** The worker that searches whole frames of a video for faces, while the other one follows and classifies them. */

import { initRuntime, openDetector } from "./networks.js";
import { answerTasks } from "./tasks.js";
import { YuNetVideo } from "./yunet.js";

/** @type {import("./yunet.js").Networks} */
let networks;
/** @type {YuNetVideo} */
let detector;

/** @param {{files: {yunet: Uint8Array, centerface: Uint8Array}}} task */
async function open({ files }) {
  initRuntime(1);
  networks = await openDetector(files);
  detector = new YuNetVideo(networks);
}

/** @param {{image: import("./types.js").Pixels, first: boolean}} task `first`: of another video. */
async function search({ image, first }) {
  if (first) detector = new YuNetVideo(networks);
  return detector.search(image);
}

answerTasks({ open, search });
