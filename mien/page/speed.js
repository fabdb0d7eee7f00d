/** How fast it goes: frames a second, and milliseconds a face. */

/** @typedef {import("./types.js").Answer} Answer */

const OVER_MS = 2000;

export class Speed {
  /** @type {{at: number, ms: number, faces: number}[]} */
  #recent = [];

  /** @param {HTMLElement} text */
  constructor(text) {
    this.text = text;
  }

  reset() {
    this.#recent = [];
    this.text.textContent = "";
  }

  /**
   * @param {Answer} answer Just come.
   * @param {boolean} moving Whether it is of a frame.
   * @param {import("./engines.js").Kind} kind Of the engine.
   */
  count({ faces, faces_ms }, moving, kind) {
    const at = performance.now();
    this.#recent.push({ at, ms: faces_ms, faces: faces.length });
    this.#recent = this.#recent.filter((each) => each.at > at - OVER_MS);
    const ms = this.#recent.reduce((sum, each) => sum + each.ms, 0);
    const seen = this.#recent.reduce((sum, each) => sum + each.faces, 0);
    const parts = [];
    const span_s = (at - this.#recent[0].at) / 1000;
    if (moving && span_s > 0) parts.push(`${((this.#recent.length - 1) / span_s).toFixed(0)} frames/s`);
    if (kind === "service") parts.push(`${(ms / this.#recent.length).toFixed(0)} ms there and back`);
    else if (seen) parts.push(`${(ms / seen).toFixed(0)} ms a face`);
    this.text.textContent = parts.join(" · ");
  }
}
