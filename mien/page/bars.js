/** The probabilities of one face as bars. */

/** @typedef {import("./tracks.js").ShownFace} ShownFace */
/** @typedef {import("./types.js").Model} Model */

export class Bars {
  /** @type {Map<string, {row: HTMLElement, value: HTMLElement, fill: HTMLElement}>} */
  #rows = new Map();

  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
  }

  /**
   * One bar for each class.
   *
   * @param {Model} model
   */
  name({ classes, colours }) {
    this.#rows.clear();
    this.list.replaceChildren();
    for (const name of classes) {
      const [row, label, track, fill, value] = ["li", "span", "span", "span", "span"].map((tag) => document.createElement(tag));
      label.textContent = name;
      track.className = "track";
      fill.style.backgroundColor = colours[name];
      value.className = "value";
      track.append(fill);
      row.append(label, track, value);
      this.list.append(row);
      this.#rows.set(name, { row, value, fill });
    }
    this.show(null);
  }

  /** @param {ShownFace | null} face */
  show(face) {
    for (const [name, { row, value, fill }] of this.#rows) {
      const probability = face?.probabilities[name];
      fill.style.transform = `scaleX(${probability ?? 0})`;
      value.textContent = probability === undefined ? "–" : `${Math.round(probability * 100)}%`;
      row.classList.toggle("first", name === face?.expression);
    }
  }
}
