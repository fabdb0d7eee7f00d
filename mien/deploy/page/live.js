/** The camera or a video, recognised frame by frame. */

import { Sheet } from "./csv.js";
import { askForCamera, closeVideo, giveBack, nextFrame, openVideo } from "./sources.js";
import { Problem } from "./problem.js";

/** @typedef {import("./types.js").Answer} Answer */

export class Live {
  #run = 0;
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
      await this.video.play();
    } catch (error) {
      return this.#failed(run, error);
    }
    this.#follow(run);
  }

  /** @param {File} file */
  async openVideo(file) {
    const run = this.#begin();
    try {
      await openVideo(this.video, file);
    } catch (error) {
      return this.#failed(run, error);
    }
    this.#follow(run);
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
    if (shown) await this.#recognise(run, shown);
  }

  /** @param {number} run Ends where another was begun. */
  async #follow(run) {
    while (run === this.#run) {
      const next = await nextFrame(this.video);
      if (next) await this.#recognise(run, next);
    }
  }

  /**
   * @param {number} run
   * @param {{bitmap: ImageBitmap, time_s: number}} frame
   */
  async #recognise(run, { bitmap, time_s }) {
    if (run !== this.#run) return bitmap.close(); // it is of what was opened meanwhile
    const engine = this.engines.current;
    const late = () => run !== this.#run || engine !== this.engines.current; // nobody waits for the answer any more
    try {
      const { frame, ...answer } = await (await engine).frame(bitmap, this.#frames === 0);
      if (late()) return frame.close();
      const shown = this.viewer.showFrame(frame, answer.faces, time_s, this.#mirrored);
      answer.faces.forEach((face, i) => this.sheet.addFrame(time_s, this.#frames, shown[i], face));
      this.#frames++;
      this.finished(answer);
    } catch (error) {
      bitmap.close();
      if (late()) return;
      this.report(error);
      // It goes on with the next engine that is chosen, or with the next frame where only this one was refused.
      if (!(error instanceof Problem) || error.engineGone) await this.engines.changed;
    }
  }
}
