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

  /**
   * @param {File} file
   * @param {() => void} ended Called where it cannot be played to its end.
   */
  async openVideo(file, ended) {
    const run = this.#begin();
    try {
      const frames = (this.#shown = new Frames(this.video));
      await openVideo(this.video, file);
      this.video.onerror = () => {
        if (run !== this.#run) return;
        this.close();
        ended();
        this.report(new Problem(`${file.name} cannot be played any further: it is damaged.`));
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
    if (this.#shown) return this.#shown.again();
    const run = this.#run; // all is closed, and what was seen last stays
    const shown = await this.viewer.copy();
    if (shown) await this.#recognise(run, { ...shown, jumped: false });
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
   * @param {{bitmap: ImageBitmap, time_s: number, jumped: boolean}} frame
   */
  async #recognise(run, { bitmap, time_s, jumped }) {
    if (run !== this.#run) return bitmap.close(); // it is of what was opened meanwhile
    const engine = this.engines.current;
    const late = () => run !== this.#run || engine !== this.engines.current; // nobody waits for the answer any more
    let opened = false;
    let inVain = false;
    try {
      const ready = await engine;
      opened = true;
      if (late()) return bitmap.close();
      const alone = this.#frames === 0 || jumped || this.video.paused; // no frame before it, or none to come
      const { frame, ...answer } = await ready.frame(bitmap, alone);
      if (late()) return frame.close();
      const shown = this.viewer.showFrame(frame, answer.faces, time_s, this.#mirrored, jumped);
      answer.faces.forEach((face, i) => this.sheet.addFrame(time_s, this.#frames, shown[i], face));
      this.#frames++;
      this.finished(answer);
    } catch (error) {
      bitmap.close();
      if (late()) return;
      this.report(error);
      if (opened && error instanceof Problem && !error.engineGone) return; // only this frame was refused
      // Another engine may be chosen, and a service may come back.
      inVain = true;
      await Promise.race([this.engines.changed, new Promise((resolve) => setTimeout(resolve, AGAIN_MS))]);
    } finally {
      // Where the frame still stands it is to be seen by the next engine, or by this one when it is back.
      if (run === this.#run && (inVain || late())) this.#shown?.again();
    }
  }
}
