/** The camera or a video: recognises it frame by frame. */

import { PageError } from "./errors.js";
import { History } from "./history.js";
import { Moments } from "./moments.js";
import { FrameReader, NO_FRAME, closeVideo, openVideo, requestCamera, stopStream } from "./sources.js";

/** @typedef {import("./types.js").Answer} Answer */

const NO_FRAME_MS = 5000; // until a source that gives no frame is an error
const RETRY_MS = 2000; // until a failed engine is tried again
const MAX_PENDING = 2; // frames at once: one is recognised while the next is captured and the last one is drawn

export class Live {
  /** Counts the opened sources, so that work for an earlier one can stop. */
  #run = 0;
  /** @type {FrameReader | null} */
  #reader = null;
  /** Frames with an answer. */
  #frameCount = 0;
  /** Whether the next frame is the first of its source. */
  #isFirst = true;
  #mirrored = false;
  /** The faces since the camera or the video was opened. */
  history = new History();
  /** Images of these faces. */
  moments = new Moments();

  /**
   * @param {HTMLVideoElement} video A hidden element; its frames are drawn on a canvas, with their faces.
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./engines.js").Engines} engines
   * @param {(error: unknown) => void} showError
   * @param {(answer: Answer) => void} onAnswer Called after each frame.
   */
  constructor(video, viewer, engines, showError, onAnswer) {
    this.video = video;
    this.viewer = viewer;
    this.engines = engines;
    this.showError = showError;
    this.onAnswer = onAnswer;
  }

  /** Closes the camera or the file. The faces are kept until another source is opened. */
  close() {
    this.#run++;
    this.#reader?.stop();
    this.#reader = null;
    closeVideo(this.video);
  }

  /** @param {(error: PageError) => void} onFailed Called when the camera is disconnected or gives no picture. */
  async openCamera(onFailed) {
    const run = this.#start();
    try {
      const stream = await requestCamera();
      if (run !== this.#run) return stopStream(stream); // another source was opened before the user answered
      const [track] = stream.getVideoTracks();
      this.#mirrored = track.getSettings().facingMode !== "environment"; // users expect a mirror from a front camera
      track.addEventListener("ended", () => {
        if (run !== this.#run) return;
        this.close(); // otherwise the answer to the last frame would hide the error
        onFailed(new PageError("The camera was disconnected; connect it and press Camera again."));
      });
      this.video.srcObject = stream;
      const reader = (this.#reader = new FrameReader(this.video));
      this.#watch(run, reader, () => {
        this.close();
        onFailed(new PageError(NO_FRAME.camera));
      });
      await this.video.play();
      this.#recogniseAll(run, reader);
    } catch (error) {
      this.#fail(run, error);
    }
  }

  /**
   * @param {File} file
   * @param {(error: PageError) => void} onFailed Called when the video does not play, or not to its end.
   */
  async openVideo(file, onFailed) {
    const run = this.#start();
    try {
      const reader = (this.#reader = new FrameReader(this.video));
      /** @param {string} sentence */
      const fail = (sentence) => {
        if (run !== this.#run) return;
        this.close();
        onFailed(new PageError(sentence));
      };
      this.#watch(run, reader, () => {
        if (this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) fail(NO_FRAME.video(file.name));
      });
      await openVideo(this.video, file);
      this.video.onerror = () => fail(`${file.name} stopped playing because it is damaged.`);
      this.#recogniseAll(run, reader);
    } catch (error) {
      this.#fail(run, error);
    }
  }

  /**
   * Calls a function when no frame was shown for a while although the page is visible.
   *
   * @param {number} run
   * @param {FrameReader} reader
   * @param {() => void} onSilent
   */
  #watch(run, reader, onSilent) {
    const timer = setInterval(() => {
      if (run !== this.#run) return clearInterval(timer);
      if (document.hidden) reader.lastFrame_ms = performance.now(); // browsers show no frames on a hidden page
      if (performance.now() - reader.lastFrame_ms > NO_FRAME_MS) onSilent();
    }, 500);
  }

  /**
   * Closes a source that could not be opened and throws the error, unless another source was opened meanwhile.
   *
   * @param {number} run
   * @param {unknown} error
   */
  #fail(run, error) {
    if (run !== this.#run) return;
    this.close();
    throw error;
  }

  #start() {
    this.close();
    this.viewer.clear();
    this.#frameCount = 0;
    this.#isFirst = true;
    this.#mirrored = false;
    this.history = new History();
    this.moments = new Moments();
    return this.#run;
  }

  /** Recognises a still frame again with another engine; no new frame would come for it. */
  async recogniseAgain() {
    if (!this.video.paused) return;
    if (this.#reader) return this.#reader.repeat();
    const run = this.#run; // the source is closed, but its last frame is still shown
    const frame = await this.viewer.copyFrame();
    if (frame) await this.#recognise(run, { ...frame, jumped: false });
  }

  /**
   * @param {number} run
   * @param {FrameReader} reader
   */
  async #recogniseAll(run, reader) {
    /** @type {Set<Promise<void>>} */
    const pending = new Set();
    try {
      while (run === this.#run) {
        if (pending.size === MAX_PENDING) await Promise.race(pending);
        const frame = await reader.next();
        if (!frame) continue;
        const task = this.#recognise(run, frame).finally(() => pending.delete(task));
        pending.add(task);
      }
    } catch (error) {
      if (run === this.#run) this.showError(error);
    }
  }

  /**
   * @param {number} run
   * @param {import("./sources.js").VideoFrame} frame
   */
  async #recognise(run, { bitmap, time_s, jumped }) {
    if (run !== this.#run) return bitmap.close(); // the frame is from an earlier source
    const engine = this.engines.current;
    const isOutdated = () => run !== this.#run || engine !== this.engines.current;
    let opened = false;
    let engineFailed = false;
    try {
      const openEngine = await engine;
      opened = true;
      if (isOutdated()) return bitmap.close();
      const first = this.#isFirst || jumped || this.video.paused; // not one of consecutive frames
      this.#isFirst = false;
      const { frame, ...answer } = await openEngine.recogniseFrame(bitmap, first);
      if (isOutdated()) return frame.close();
      const tracked = this.viewer.showFrame(frame, answer.faces, time_s, this.#mirrored, jumped);
      this.history.add(this.#frameCount, time_s, tracked, answer.faces);
      this.moments.add(frame, tracked, time_s);
      this.#frameCount++;
      this.onAnswer(answer);
    } catch (error) {
      bitmap.close();
      if (isOutdated()) return;
      this.showError(error);
      if (opened && error instanceof PageError && !error.engineFailed) return; // only this frame failed
      // The user may choose another engine, and a service may come back.
      engineFailed = true;
      await Promise.race([this.engines.changed, new Promise((resolve) => setTimeout(resolve, RETRY_MS))]);
    } finally {
      // A frame that is still shown must reach the next engine, or this one once it works again.
      if (run === this.#run && (engineFailed || isOutdated())) this.#reader?.repeat();
    }
  }
}
