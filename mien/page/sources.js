/** The camera and video files as frames with times. */

import { PageError } from "./errors.js";

/** @typedef {{bitmap: ImageBitmap, time_s: number, jumped: boolean}} VideoFrame `jumped`: after a seek. */

const CAMERA = { video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" }, audio: false };

const CONVERT = "convert it to WebM or use another browser.";

/**
 * The errors of a source that gives no frame.
 */
export const NO_FRAME = {
  /** @param {string} name */
  video: (name) =>
    `${name} does not start to play: this browser probably has no decoder for it (for H.264 or H.265, say); ${CONVERT}`,
  camera:
    "The camera gives no picture: it may be covered, switched off by a key, or used by another program; check that and try again.",
};

/** @type {Record<string, string>} */
const CAMERA_ERRORS = {
  NotAllowedError: "The camera was not permitted; allow it beside the page's address and press Camera again.",
  NotFoundError: "No camera was found; connect one and press Camera again.",
  NotReadableError: "The camera is in use by another program; close that program and press Camera again.",
};

/**
 * Asks the user for the camera. This may take any time.
 *
 * @returns {Promise<MediaStream>}
 */
export async function requestCamera() {
  if (!navigator.mediaDevices) {
    throw new PageError("Browsers allow the camera only on https:// pages or on this machine; open the page there.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia(CAMERA);
  } catch (error) {
    const { name } = /** @type {DOMException} */ (error);
    throw new PageError(CAMERA_ERRORS[name] ?? `The camera could not be opened (${name}); try another one.`);
  }
}

/** @param {MediaStream} stream */
export function stopStream(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/**
 * Opens a file in a video element and starts to play it.
 *
 * @param {HTMLVideoElement} video
 * @param {File} file
 */
export async function openVideo(video, file) {
  video.src = URL.createObjectURL(file);
  video.play().catch(() => {}); // also rejected if the user pauses while it loads, which is not an error
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = reject;
  }).catch(() => {
    throw new PageError(`${file.name} cannot be played: it is damaged, or this browser cannot decode it; ${CONVERT}`);
  });
  if (!video.videoWidth) throw new PageError(`${file.name} has sound but no pictures; choose another file.`);
}

/**
 * Releases the file or the camera of a video element.
 *
 * @param {HTMLVideoElement} video
 */
export function closeVideo(video) {
  video.pause();
  if (video.srcObject instanceof MediaStream) stopStream(video.srcObject);
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
}

/**
 * Reads the frames that a video element shows, with their times. A slow caller gets only the latest frame. The frame at
 * which the video pauses is never skipped.
 */
export class FrameReader {
  #callback = 0;
  #time_s = 0;
  /** Whether a frame was shown since the last call of `next`. */
  #hasNewFrame = false;
  #jumped = false;
  #wake = () => {};
  /** When the last frame was shown, or when reading started, by `performance.now`. */
  lastFrame_ms = performance.now();

  /** @param {HTMLVideoElement} video The element, before it opens a source, so that the first frame is not missed. */
  constructor(video) {
    if (!("requestVideoFrameCallback" in video)) {
      throw new PageError("This browser cannot give a page the frames of a video; update it, or choose pictures.");
    }
    this.video = video;
    this.video.addEventListener("seeking", this.#onSeek);
    this.video.addEventListener("pause", this.#onPause);
    this.#requestFrame();
  }

  /**
   * Waits for the next frame. While the video is paused, this is the frame that is shown, unless it was read before.
   *
   * @returns {Promise<VideoFrame | null>} Null if the video is closed meanwhile.
   */
  async next() {
    if (!this.#hasNewFrame || !this.video.paused) await new Promise((resolve) => (this.#wake = () => resolve(null)));
    const [time_s, jumped] = [this.#time_s, this.#jumped];
    this.#hasNewFrame = false;
    this.#jumped = this.video.seeking; // during a seek, this may still be the frame before it
    return createImageBitmap(this.video).then(
      (bitmap) => ({ bitmap, time_s, jumped }),
      () => {
        this.#jumped ||= jumped;
        return null;
      },
    );
  }

  /** Lets `next` return the frame that is shown once more, if the video is paused. */
  repeat() {
    this.#hasNewFrame = true;
    this.#onPause();
  }

  /** Stops reading. A pending `next` never resolves. */
  stop() {
    this.video.cancelVideoFrameCallback(this.#callback);
    this.video.removeEventListener("seeking", this.#onSeek);
    this.video.removeEventListener("pause", this.#onPause);
  }

  #requestFrame() {
    this.#callback = this.video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.lastFrame_ms = performance.now();
      this.#time_s = mediaTime;
      this.#hasNewFrame = true;
      this.#requestFrame();
      this.#wake();
    });
  }

  #onSeek = () => {
    this.#jumped = true;
  };

  #onPause = () => {
    if (this.#hasNewFrame && this.video.paused) this.#wake();
  };
}
