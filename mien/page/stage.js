/** The picture with its faces: drawn on a canvas, and each face a radio button over it, so that any input can choose. */

import { heatOf } from "./heat.js";

/** @typedef {import("./tracks.js").ShownFace} ShownFace */

/**
 * @typedef {object} View
 * @property {ImageBitmap} bitmap
 * @property {ShownFace[]} faces
 * @property {number | null} chosen
 * @property {number} mask Which stage's lies over the faces; 0 is none.
 * @property {boolean} mirrored Whether all is shown as a mirror would.
 * @property {boolean} moving Whether it is a frame.
 */

const LEAST_FONT_PX = 11;
const MOST_FONT_PX = 15;

export class Stage {
  /** @type {View | null} */
  #view = null;
  /** @type {Map<number, HTMLLabelElement>} */
  #buttons = new Map();

  /**
   * @param {HTMLElement} element With a canvas and a fieldset in it.
   * @param {(id: number) => void} choose Called where the person chose a face.
   */
  constructor(element, choose) {
    this.element = element;
    this.canvas = /** @type {HTMLCanvasElement} */ (element.querySelector("canvas"));
    this.faces = /** @type {HTMLFieldSetElement} */ (element.querySelector("fieldset"));
    /** @type {Record<string, string>} */
    this.colours = {};
    this.faces.addEventListener("change", ({ target }) => choose(Number(/** @type {HTMLInputElement} */ (target).value)));
    new ResizeObserver(() => this.#draw()).observe(this.canvas);
  }

  /** @param {View | null} view */
  show(view) {
    this.#view = view;
    this.element.hidden = !view;
    if (!view) return;
    const { width, height } = view.bitmap;
    this.element.style.setProperty("--ratio", String(width / height));
    this.canvas.setAttribute("aria-label", `The picture, ${width} by ${height} pixels, ${count(view.faces.length)}`);
    this.#placeButtons(view);
    this.#draw();
  }

  /** @param {View} view */
  #placeButtons(view) {
    const { bitmap, faces, chosen, moving } = view;
    const focused = this.faces.contains(document.activeElement);
    for (const [id, button] of this.#buttons) {
      if (faces.some((face) => face.id === id)) continue;
      button.remove();
      this.#buttons.delete(id);
    }
    faces.forEach((face, i) => {
      const button = this.#buttons.get(face.id) ?? this.#newButton(face.id);
      if (this.faces.children[i] !== button) this.faces.insertBefore(button, this.faces.children[i] ?? null);
      const [x0, y0, x1, y1] = placeOf(face, view);
      button.style.left = `${(100 * x0) / bitmap.width}%`;
      button.style.top = `${(100 * y0) / bitmap.height}%`;
      button.style.width = `${(100 * (x1 - x0)) / bitmap.width}%`;
      button.style.height = `${(100 * (y1 - y0)) / bitmap.height}%`;
      const [input, name] = /** @type {[HTMLInputElement, HTMLElement]} */ (/** @type {unknown} */ (button.children));
      input.checked = face.id === chosen;
      // Counted as in the heading; a moving one's confidence never rests, and would be spoken again and again.
      const text = `Face ${i + 1}: ${moving ? wordOf(face) : textOf(face)}`;
      if (name.textContent !== text) name.textContent = text;
    });
    if (focused && !this.faces.contains(document.activeElement)) {
      /** @type {HTMLInputElement | null} */ (this.faces.querySelector(":checked"))?.focus({ preventScroll: true });
    }
  }

  /** @param {number} id */
  #newButton(id) {
    const button = document.createElement("label");
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "face";
    input.value = String(id);
    const name = document.createElement("span");
    button.append(input, name);
    this.#buttons.set(id, button);
    return button;
  }

  #draw() {
    const context = this.canvas.getContext("2d");
    const view = this.#view;
    if (!view || !this.canvas.clientWidth || !context) return;
    const { bitmap, faces, chosen, mask, mirrored } = view;
    this.canvas.width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    context.imageSmoothingQuality = "high";
    context.fillStyle = "white"; // behind what is transparent, as the networks see it
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.scale(devicePixelRatio, devicePixelRatio);
    const scale = this.canvas.clientWidth / bitmap.width;
    context.save();
    if (mirrored) context.transform(-1, 0, 0, 1, this.canvas.clientWidth, 0);
    context.drawImage(bitmap, 0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    for (const { box, masks } of faces) {
      const [x0, y0, x1, y1] = box.map((value) => value * scale);
      const heat = masks?.[mask - 1];
      if (heat) context.drawImage(heatOf(heat), x0, y0, x1 - x0, y1 - y0);
    }
    context.restore();
    const placed = faces.map((face) => ({ face, place: placeOf(face, view).map((value) => value * scale) }));
    for (const { face, place: [x0, y0, x1, y1] } of placed) {
      context.strokeStyle = this.#colour(face);
      context.lineWidth = face.id === chosen ? 3 : 1.5;
      context.setLineDash(face.uncertain ? [6, 4] : []);
      context.beginPath();
      context.roundRect(x0, y0, x1 - x0, y1 - y0, 4);
      context.stroke();
    }
    for (const { face, place } of placed) this.#label(context, face, place); // after all boxes: none is over a text
  }

  /**
   * Above the box, below it where there is no room, and inside at its top where there is none either.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {ShownFace} face
   * @param {number[]} place Where its box is shown: x0, y0, x1, y1.
   */
  #label(context, face, [x0, y0, x1, y1]) {
    const text = textOf(face);
    const size = Math.max(LEAST_FONT_PX, Math.min((x1 - x0) / 7, MOST_FONT_PX));
    const pad = size * 0.4;
    context.font = `600 ${size}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 2 * pad;
    const height = size + 2 * pad;
    const left = Math.max(0, Math.min(x0 - 1, this.canvas.clientWidth - width));
    const places = [y0 - height, y1, Math.max(0, y0)];
    const top = places.find((place) => place >= 0 && place + height <= this.canvas.clientHeight) ?? 0;
    const colour = this.#colour(face);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(left, top, width, height, 4);
    context.fill();
    context.fillStyle = isBright(colour) ? "#000" : "#fff";
    context.textBaseline = "middle";
    context.fillText(text, left + pad, top + height / 2 + 1);
  }

  /** @param {ShownFace} face */
  #colour(face) {
    return this.colours[face.expression] ?? "#808080";
  }
}

/**
 * Where a face's box is shown: x0, y0, x1, y1 in pixels of the picture.
 *
 * @param {ShownFace} face
 * @param {View} view
 */
function placeOf({ box: [x0, y0, x1, y1] }, { bitmap, mirrored }) {
  return mirrored ? [bitmap.width - x1, y0, bitmap.width - x0, y1] : [x0, y0, x1, y1];
}

/**
 * What a face shows in few words, with a question mark where that is uncertain.
 *
 * @param {ShownFace} face
 */
function textOf(face) {
  return `${wordOf(face)} ${Math.round(face.confidence * 100)}%`;
}

/** @param {ShownFace} face */
function wordOf({ expression, uncertain }) {
  return `${expression}${uncertain ? "?" : ""}`;
}

/** @param {number} faces */
function count(faces) {
  return faces === 0 ? "no face" : faces === 1 ? "one face" : `${faces} faces`;
}

/**
 * Whether dark text can be read better on a colour than white text.
 *
 * @param {string} colour As #rrggbb.
 */
function isBright(colour) {
  const [red, green, blue] = [1, 3, 5].map((i) => (parseInt(colour.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18;
}
