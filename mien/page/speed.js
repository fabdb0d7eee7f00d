/** The speed of recognition: frames per second, and milliseconds per face. */

/** @typedef {import("./types.js").Answer} Answer */

const WINDOW_MS = 2000;

export class Speed {
  /** @type {{at_ms: number, faces_ms: number, faceCount: number}[]} */
  #recent = [];

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  reset() {
    this.#recent = [];
    this.element.textContent = "";
  }

  /**
   * Adds an answer that has just arrived, and shows the means of the last two seconds.
   *
   * @param {Answer} answer
   * @param {boolean} isFrame Whether it is the answer to a frame, and not to a picture.
   * @param {import("./engines.js").Kind} engine
   */
  add({ faces, faces_ms }, isFrame, engine) {
    const now_ms = performance.now();
    this.#recent.push({ at_ms: now_ms, faces_ms, faceCount: faces.length });
    this.#recent = this.#recent.filter(({ at_ms }) => at_ms > now_ms - WINDOW_MS);
    const total_ms = this.#recent.reduce((sum, each) => sum + each.faces_ms, 0);
    const faceCount = this.#recent.reduce((sum, each) => sum + each.faceCount, 0);
    const texts = [];
    const span_s = (now_ms - this.#recent[0].at_ms) / 1000;
    if (isFrame && span_s > 0) texts.push(`${((this.#recent.length - 1) / span_s).toFixed(0)} frames/s`);
    if (engine === "service") texts.push(`${(total_ms / this.#recent.length).toFixed(0)} ms round trip`);
    else if (faceCount) texts.push(`${(total_ms / faceCount).toFixed(0)} ms per face`);
    this.element.textContent = texts.join(" · ");
  }
}
