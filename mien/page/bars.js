/** The probabilities of one face as bars. */

/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */
/** @typedef {import("./types.js").Model} Model */

const MAX_LABEL_CH = 16;

export class Bars {
  /** @type {Map<string, {row: HTMLElement, value: HTMLElement, fill: HTMLElement}>} */
  #rows = new Map();

  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
  }

  /**
   * Creates a bar for each class of a model.
   *
   * @param {Model} model
   */
  setModel({ classes, colours }) {
    this.#rows.clear();
    this.list.replaceChildren();
    const longest = Math.max(...classes.map((name) => name.length));
    this.list.style.setProperty("--label-width", `${Math.min(longest, MAX_LABEL_CH)}ch`);
    for (const name of classes) {
      const row = document.createElement("li");
      const [label, track, fill, value] = ["label", "bar", "fill", "value"].map((className) => {
        return Object.assign(document.createElement("span"), { className });
      });
      label.textContent = label.title = name;
      fill.style.backgroundColor = colours[name];
      track.append(fill);
      row.append(label, track, value);
      this.list.append(row);
      this.#rows.set(name, { row, value, fill });
    }
    this.show(null);
  }

  /** @param {TrackedFace | null} face */
  show(face) {
    for (const [name, { row, value, fill }] of this.#rows) {
      const probability = face?.probabilities[name];
      fill.style.transform = `scaleX(${probability ?? 0})`;
      value.textContent = probability === undefined ? "–" : `${Math.round(probability * 100)}%`;
      row.classList.toggle("top", name === face?.expression);
    }
  }
}
