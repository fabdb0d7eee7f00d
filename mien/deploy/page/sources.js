/** Moving pictures: the camera or a file, as frames with their times. */

import { Problem } from "./problem.js";

const CAMERA = { video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" }, audio: false };

/** @type {Record<string, string>} */
const REFUSED = {
  NotAllowedError: "The camera was not permitted; allow it beside the page's address and press Camera again.",
  NotFoundError: "No camera was found; connect one and press Camera again.",
  NotReadableError: "The camera is in use by another program; close that and press Camera again.",
};

/**
 * Asks for the camera; the person may take any time to answer.
 *
 * @returns {Promise<MediaStream>}
 */
export async function askForCamera() {
  if (!navigator.mediaDevices) {
    throw new Problem("Browsers give the camera only to pages at https:// or on this machine; open the page there.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia(CAMERA);
  } catch (error) {
    const { name } = /** @type {DOMException} */ (error);
    throw new Problem(REFUSED[name] ?? `The camera could not be opened (${name}); try another one.`);
  }
}

/** @param {MediaStream} stream */
export function giveBack(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/**
 * Plays a file in a video element, once it has a picture of it; paused before, it waits.
 *
 * @param {HTMLVideoElement} video
 * @param {File} file
 */
export async function openVideo(video, file) {
  video.src = URL.createObjectURL(file);
  video.play().catch(() => {}); // also where it is only paused before it could begin, which is no fault of the file
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = reject;
  }).catch(() => {
    throw new Problem(`${file.name} cannot be played: it is damaged, or in a format that this browser does not know.`);
  });
  if (!video.videoWidth) throw new Problem(`${file.name} has sound but no pictures; choose another file.`);
}

/**
 * Gives back what a video element has opened, the camera too.
 *
 * @param {HTMLVideoElement} video
 */
export function closeVideo(video) {
  video.pause();
  if (video.srcObject instanceof MediaStream) giveBack(video.srcObject);
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
}

/**
 * The next frame that a video element shows; null where it was closed at that moment.
 *
 * @param {HTMLVideoElement} video
 * @returns {Promise<{bitmap: ImageBitmap, time_s: number} | null>}
 */
export function nextFrame(video) {
  return new Promise((resolve) => {
    video.requestVideoFrameCallback((_, { mediaTime }) => {
      createImageBitmap(video).then(
        (bitmap) => resolve({ bitmap, time_s: mediaTime }),
        () => resolve(null),
      );
    });
  });
}
