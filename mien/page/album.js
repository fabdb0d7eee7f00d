/** Pictures that the person chose: each is recognised, and can be looked at again. */

import { Sheet } from "./csv.js";
import { decode } from "./pixels.js";
import { Problem, sentenceOf } from "./problem.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {{file: File, answer: Answer | null, problem: string}} Entry */

export class Album {
  /** @type {Entry[]} */
  #entries = [];
  #shown = -1;
  #run = 0;

  /**
   * @param {HTMLElement} strip Where small copies of several pictures stand, to choose from.
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./engines.js").Engines} engines
   * @param {(error: unknown) => void} report
   * @param {(done: Answer) => void} finished Called after each picture.
   */
  constructor(strip, viewer, engines, report, finished) {
    this.strip = strip;
    this.viewer = viewer;
    this.engines = engines;
    this.report = report;
    this.finished = finished;
    strip.addEventListener("change", ({ target }) => this.#show(Number(/** @type {HTMLInputElement} */ (target).value)));
  }

  /** Forgets all pictures. */
  close() {
    for (const picture of this.strip.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
    this.strip.replaceChildren();
    this.strip.hidden = true;
    this.#entries = [];
    this.#shown = -1;
    this.#run++;
  }

  /**
   * Shows pictures in the place of those before, and recognises them.
   *
   * @param {File[]} files
   */
  async open(files) {
    this.close();
    this.#entries = files.map((file) => ({ file, answer: null, problem: "" }));
    if (files.length > 1) this.strip.append(...this.#entries.map(({ file }, i) => thumbnail(file, i)));
    this.strip.hidden = files.length < 2;
    await this.recognise();
  }

  /** Recognises the pictures, again where another engine was chosen, and shows the one that is looked at. */
  async recognise() {
    const run = ++this.#run;
    for (const entry of this.#entries) Object.assign(entry, { answer: null, problem: "" });
    for (const label of this.strip.children) label.classList.remove("done");
    await this.#show(Math.max(this.#shown, 0));
    for (const [i, entry] of this.#entries.entries()) {
      try {
        const engine = await this.engines.current;
        if (run !== this.#run) return;
        const answer = await engine.picture(entry.file, entry.file.name);
        if (run !== this.#run) return; // other pictures or another engine were chosen meanwhile
        entry.answer = answer;
        this.strip.children[i]?.classList.add("done");
        this.finished(answer);
      } catch (error) {
        if (run !== this.#run) return;
        if (!(error instanceof Problem) || error.engineGone) return this.report(error);
        entry.problem = error.message;
        this.report(error);
      }
      if (i === this.#shown) await this.#show(i);
    }
  }

  /** What was recognised in all of them. */
  sheet() {
    const sheet = new Sheet();
    for (const { file, answer } of this.#entries) {
      answer?.faces.forEach((face, i) => sheet.addPicture(file.name, i + 1, face));
    }
    return sheet;
  }

  /** @param {number} i */
  async #show(i) {
    const entry = this.#entries[i];
    if (!entry) return;
    this.#shown = i;
    const button = this.strip.querySelectorAll("input")[i];
    if (button) button.checked = true;
    try {
      const bitmap = await decode(entry.file, entry.file.name);
      if (entry !== this.#entries[this.#shown]) return bitmap.close();
      this.viewer.showPicture(bitmap, entry.answer?.faces ?? null);
    } catch (error) {
      if (entry !== this.#entries[this.#shown]) return;
      entry.problem = sentenceOf(error);
      this.viewer.clear();
    }
    if (!entry.problem) return;
    this.viewer.say("");
    this.report(new Problem(entry.problem));
  }
}

/**
 * @param {File} file
 * @param {number} i
 */
function thumbnail(file, i) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const picture = document.createElement("img");
  const name = document.createElement("span");
  Object.assign(input, { type: "radio", name: "picture", value: String(i) });
  Object.assign(picture, { loading: "lazy", alt: "", draggable: false, src: URL.createObjectURL(file) });
  picture.onerror = () => {
    URL.revokeObjectURL(picture.src);
    picture.removeAttribute("src"); // its place stays empty
  };
  name.textContent = file.name;
  label.append(input, picture, name);
  label.title = file.name;
  return label;
}
