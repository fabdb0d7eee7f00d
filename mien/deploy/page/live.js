/** The camera or a video, recognised frame by frame. */

import { Sheet } from "./csv.js";
import { Frames, askForCamera, closeVideo, giveBack, openVideo } from "./sources.js";
import { Problem } from "./problem.js";

/** @typedef {import("./types.js").Answer} Answer */

const AGAIN_MS = 2000; // until an engine that was gone is asked once more

export class Live {
  #run = 0;
  /** @type {Frames | null} */
  #shown = null;
  #frames = 0;
  #mirrored = false;
  /** What was seen since the camera or the video was opened. */
  sheet = new Sheet();

  /**
   * @param {HTMLVideoElement} video Never seen: its frames are drawn with what was found in them.
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./engines.js").Engines} engines
   * @param {(error: unknown) => void} report
   * @param {(done: Answer) => void} finished Called after each frame.
   */
  constructor(video, viewer, engines, report, finished) {
    this.video = video;
    this.viewer = viewer;
    this.engines = engines;
    this.report = report;
    this.finished = finished;
  }

  /** Gives back the camera or the file; what was seen is kept until the next one is opened. */
  close() {
    this.#run++;
    this.#shown?.stop();
    this.#shown = null;
    closeVideo(this.video);
  }

  /**
   * @param {() => void} ended Called where the camera is taken away.
   */
  async openCamera(ended) {
    const run = this.#begin();
    try {
      const stream = await askForCamera();
      if (run !== this.#run) return giveBack(stream); // something else was opened before the person answered
      const [camera] = stream.getVideoTracks();
      this.#mirrored = camera.getSettings().facingMode !== "environment"; // who looks into it expects a mirror
      camera.addEventListener("ended", () => {
        if (run !== this.#run) return;
        this.close(); // or the frame that is being recognised would take the sentence away
        ended();
        this.report(new Problem("The camera was taken away; connect it and press Camera again."));
      });
      this.video.srcObject = stream;
      const frames = (this.#shown = new Frames(this.video));
      await this.video.play();
      this.#follow(run, frames);
    } catch (error) {
      this.#failed(run, error);
    }
  }

  /** @param {File} file */
  async openVideo(file) {
    const run = this.#begin();
    try {
      const frames = (this.#shown = new Frames(this.video));
      await openVideo(this.video, file);
      this.video.onerror = () => {
        if (run === this.#run) this.report(new Problem(`${file.name} cannot be played any further: it is damaged.`));
      };
      this.#follow(run, frames);
    } catch (error) {
      this.#failed(run, error);
    }
  }

  /**
   * Closes what could not be opened, unless it was only stopped by something else that was opened.
   *
   * @param {number} run
   * @param {unknown} error
   */
  #failed(run, error) {
    if (run !== this.#run) return;
    this.close();
    throw error;
  }

  #begin() {
    this.close();
    this.viewer.clear();
    this.#frames = 0;
    this.#mirrored = false;
    this.sheet = new Sheet();
    return this.#run;
  }

  /** Recognises what is shown once more, with another engine: where nothing moves, no frame would come to it. */
  async again() {
    if (!this.video.paused) return;
    const run = this.#run;
    const shown = await this.viewer.copy();
    if (shown) await this.#recognise(run, { ...shown, follows: false });
  }

  /**
   * @param {number} run Ends where another was begun.
   * @param {Frames} frames
   */
  async #follow(run, frames) {
    try {
      while (run === this.#run) {
        const next = await frames.next();
        if (next) await this.#recognise(run, next);
      }
    } catch (error) {
      if (run === this.#run) this.report(error);
    }
  }

  /**
   * @param {number} run
   * @param {{bitmap: ImageBitmap, time_s: number, follows: boolean}} frame
   */
  async #recognise(run, { bitmap, time_s, follows }) {
    if (run !== this.#run) return bitmap.close(); // it is of what was opened meanwhile
    const engine = this.engines.current;
    const late = () => run !== this.#run || engine !== this.engines.current; // nobody waits for the answer any more
    try {
      const ready = await engine;
      if (late()) return bitmap.close();
      const { frame, ...answer } = await ready.frame(bitmap, this.#frames === 0 || !follows);
      if (late()) return frame.close();
      const shown = this.viewer.showFrame(frame, answer.faces, time_s, this.#mirrored);
      answer.faces.forEach((face, i) => this.sheet.addFrame(time_s, this.#frames, shown[i], face));
      this.#frames++;
      this.finished(answer);
    } catch (error) {
      bitmap.close();
      if (late()) return;
      this.report(error);
      if (error instanceof Problem && !error.engineGone) return; // only this frame was refused
      // Another engine may be chosen, and a service may come back.
      await Promise.race([this.engines.changed, new Promise((resolve) => setTimeout(resolve, AGAIN_MS))]);
    }
  }
}
