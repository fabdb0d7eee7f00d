/** The pictures that the user chose: recognises each of them and shows the selected one. */

import { PageError, sentenceOf } from "./errors.js";
import { decode } from "./pixels.js";
import { pictureRecord } from "./records.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {{file: File, answer: Answer | null, error: string}} Entry */

export class Album {
  /** @type {Entry[]} */
  #entries = [];
  #selected = -1;
  /** Counts the runs of `recognise`, so that an outdated run can stop. */
  #run = 0;

  /**
   * @param {HTMLElement} strip The element for thumbnails of several pictures.
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./engines.js").Engines} engines
   * @param {(error: unknown) => void} showError
   * @param {(answer: Answer) => void} onAnswer Called after each picture.
   */
  constructor(strip, viewer, engines, showError, onAnswer) {
    this.strip = strip;
    this.viewer = viewer;
    this.engines = engines;
    this.showError = showError;
    this.onAnswer = onAnswer;
    strip.addEventListener("change", ({ target }) => {
      this.#select(Number(/** @type {HTMLInputElement} */ (target).value));
    });
  }

  /** Removes all pictures. */
  close() {
    for (const image of this.strip.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    this.strip.replaceChildren();
    this.strip.hidden = true;
    this.#entries = [];
    this.#selected = -1;
    this.#run++;
  }

  /**
   * Replaces the pictures and recognises the new ones.
   *
   * @param {File[]} files
   */
  async open(files) {
    this.close();
    this.#entries = files.map((file) => ({ file, answer: null, error: "" }));
    if (files.length > 1) this.strip.append(...this.#entries.map(({ file }, i) => thumbnail(file, i)));
    this.strip.hidden = files.length < 2;
    await this.recognise();
  }

  /** Recognises all pictures with the current engine, and shows the selected one. */
  async recognise() {
    const run = ++this.#run;
    for (const entry of this.#entries) Object.assign(entry, { answer: null, error: "" });
    for (const label of this.strip.children) label.classList.remove("done");
    await this.#select(Math.max(this.#selected, 0));
    for (const [i, entry] of this.#entries.entries()) {
      try {
        const engine = await this.engines.current;
        if (run !== this.#run) return;
        const answer = await engine.recognisePicture(entry.file, entry.file.name);
        if (run !== this.#run) return; // other pictures or another engine were chosen meanwhile
        entry.answer = answer;
        this.strip.children[i]?.classList.add("done");
        this.onAnswer(answer);
      } catch (error) {
        if (run !== this.#run) return;
        if (!(error instanceof PageError) || error.engineFailed) return this.showError(error);
        entry.error = error.message;
        this.showError(error);
      }
      if (i === this.#selected) await this.#select(i);
    }
  }

  /** Returns the records of all pictures that were recognised. */
  records() {
    return this.#entries.flatMap(({ file, answer }) => (answer ? [pictureRecord(file.name, answer)] : []));
  }

  /** @param {number} i */
  async #select(i) {
    const entry = this.#entries[i];
    if (!entry) return;
    this.#selected = i;
    const button = this.strip.querySelectorAll("input")[i];
    if (button) button.checked = true;
    try {
      const bitmap = await decode(entry.file, entry.file.name);
      if (entry !== this.#entries[this.#selected]) return bitmap.close();
      this.viewer.showPicture(bitmap, entry.answer?.faces ?? null);
    } catch (error) {
      if (entry !== this.#entries[this.#selected]) return;
      entry.error = sentenceOf(error);
      this.viewer.clear();
    }
    if (!entry.error) return;
    this.viewer.showMessage("");
    this.showError(new PageError(entry.error));
  }
}

/**
 * @param {File} file
 * @param {number} i
 */
function thumbnail(file, i) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const image = document.createElement("img");
  const name = document.createElement("span");
  Object.assign(input, { type: "radio", name: "picture", value: String(i) });
  Object.assign(image, { loading: "lazy", alt: "", draggable: false, src: URL.createObjectURL(file) });
  image.onerror = () => {
    URL.revokeObjectURL(image.src);
    image.removeAttribute("src"); // leaves an empty thumbnail
  };
  name.textContent = file.name;
  label.append(input, image, name);
  label.title = file.name;
  return label;
}
