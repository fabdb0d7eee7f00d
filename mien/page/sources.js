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
 * The frames that a video element shows, each with its time. Where they come faster than they are taken, the latest one
 * alone; one that still stands when the video pauses is never missed.
 */
export class Frames {
  #listening = 0;
  #time_s = 0;
  /** Whether a frame was shown since the last one was taken. */
  #fresh = false;
  #jumped = false;
  #wake = () => {};

  /** @param {HTMLVideoElement} video Before it is opened, so that its first frame is seen. */
  constructor(video) {
    if (!("requestVideoFrameCallback" in video)) {
      throw new Problem("This browser does not show a video's frames one by one; update it, or choose pictures.");
    }
    this.video = video;
    this.video.addEventListener("seeking", this.#jump);
    this.video.addEventListener("pause", this.#rest);
    this.#listen();
  }

  /**
   * The next frame: the one that stands where the video is paused and nobody has taken it.
   *
   * @returns {Promise<{bitmap: ImageBitmap, time_s: number, jumped: boolean} | null>} `jumped` says whether there was a
   *   seek since the one before; null where the video was closed at that moment.
   */
  async next() {
    if (!this.#fresh || !this.video.paused) await new Promise((resolve) => (this.#wake = () => resolve(null)));
    const [time_s, jumped] = [this.#time_s, this.#jumped];
    this.#fresh = false;
    this.#jumped = this.video.seeking; // it may be a frame from before
    return createImageBitmap(this.video).then(
      (bitmap) => ({ bitmap, time_s, jumped }),
      () => {
        this.#jumped ||= jumped;
        return null;
      },
    );
  }

  /** Gives the last frame once more, where it still stands: it was taken in vain. */
  again() {
    this.#fresh = true;
    this.#rest();
  }

  /** Lets the video go; whoever waits for a frame waits for ever. */
  stop() {
    this.video.cancelVideoFrameCallback(this.#listening);
    this.video.removeEventListener("seeking", this.#jump);
    this.video.removeEventListener("pause", this.#rest);
  }

  #listen() {
    this.#listening = this.video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.#time_s = mediaTime;
      this.#fresh = true;
      this.#listen();
      this.#wake();
    });
  }

  #jump = () => {
    this.#jumped = true;
  };

  #rest = () => {
    if (this.#fresh && this.video.paused) this.#wake();
  };
}
