/** Draws an image with its faces on a canvas. A radio button over each face selects it by mouse, touch or keyboard. */

import { drawHeatmap } from "./heatmap.js";

/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */

/**
 * @typedef {object} View
 * @property {ImageBitmap} bitmap
 * @property {TrackedFace[]} faces
 * @property {number | null} selected The number of the selected face.
 * @property {number} mask The stage whose mask is drawn over the faces; 0 for none.
 * @property {boolean} mirrored Whether to show a mirror image.
 * @property {boolean} isFrame Whether the image is a frame, and not a picture.
 */

const MIN_FONT_PX = 11;
const MAX_FONT_PX = 15;
const MAX_COPY_SIDE = 4096; // pixels; larger canvases stay empty on some phones
const UNKNOWN_COLOUR = "#808080"; // of a class that the current model does not have

export class Stage {
  /** @type {View | null} */
  #view = null;
  /** @type {Map<number, HTMLLabelElement>} */
  #buttons = new Map();

  /**
   * @param {HTMLElement} element Contains a canvas and a fieldset.
   * @param {(id: number) => void} onSelect Called when the user selects a face.
   */
  constructor(element, onSelect) {
    this.element = element;
    this.canvas = /** @type {HTMLCanvasElement} */ (element.querySelector("canvas"));
    this.faces = /** @type {HTMLFieldSetElement} */ (element.querySelector("fieldset"));
    /** @type {Record<string, string>} */
    this.colours = {};
    this.faces.addEventListener("change", ({ target }) => {
      onSelect(Number(/** @type {HTMLInputElement} */ (target).value));
    });
    new ResizeObserver(() => this.#draw()).observe(this.canvas);
  }

  /** @param {View | null} view */
  show(view) {
    this.#view = view;
    this.element.hidden = !view;
    if (!view) return;
    const { width, height } = view.bitmap;
    this.element.style.setProperty("--ratio", String(width / height));
    const label = `The picture, ${width} by ${height} pixels, ${countText(view.faces.length)}`;
    this.canvas.setAttribute("aria-label", label);
    this.#placeButtons(view);
    this.#draw();
  }

  /** @param {View} view */
  #placeButtons(view) {
    const { bitmap, faces, selected, isFrame } = view;
    const focused = this.faces.contains(document.activeElement);
    for (const [id, button] of this.#buttons) {
      if (faces.some((face) => face.id === id)) continue;
      button.remove();
      this.#buttons.delete(id);
    }
    faces.forEach((face, i) => {
      const button = this.#buttons.get(face.id) ?? this.#addButton(face.id);
      if (this.faces.children[i] !== button) this.faces.insertBefore(button, this.faces.children[i] ?? null);
      const [x0, y0, x1, y1] = viewBoxOf(face, view);
      button.style.left = `${(100 * x0) / bitmap.width}%`;
      button.style.top = `${(100 * y0) / bitmap.height}%`;
      button.style.width = `${(100 * (x1 - x0)) / bitmap.width}%`;
      button.style.height = `${(100 * (y1 - y0)) / bitmap.height}%`;
      const [input, name] = /** @type {[HTMLInputElement, HTMLElement]} */ (/** @type {unknown} */ (button.children));
      input.checked = face.id === selected;
      // The number is that of the heading. In a video, the changing confidence would be announced again and again.
      const text = `Face ${i + 1}: ${isFrame ? nameOf(face) : labelOf(face)}`;
      if (name.textContent !== text) name.textContent = text;
    });
    if (focused && !this.faces.contains(document.activeElement)) {
      /** @type {HTMLInputElement | null} */ (this.faces.querySelector(":checked"))?.focus({ preventScroll: true });
    }
  }

  /** @param {number} id */
  #addButton(id) {
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
    if (!this.#view || !this.canvas.clientWidth || !context) return;
    resizeCanvas(this.canvas);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.#paint(context, this.#view, this.canvas.clientWidth, this.canvas.clientHeight);
  }

  /**
   * Returns the image with its faces as it is shown, in the size of the original.
   *
   * @returns {OffscreenCanvas | null}
   */
  copy() {
    const width = this.canvas.clientWidth;
    if (!this.#view || !width) return null;
    const { bitmap } = this.#view;
    const scale = Math.min(bitmap.width, MAX_COPY_SIDE, (MAX_COPY_SIDE * bitmap.width) / bitmap.height) / width;
    const height = (width * bitmap.height) / bitmap.width;
    const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
    const context = canvas.getContext("2d");
    if (!context) return null;
    context.scale(scale, scale);
    this.#paint(context, { ...this.#view, isFrame: false }, width, height);
    return canvas;
  }

  /**
   * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
   * @param {View} view
   * @param {number} width Of the image on the screen, in CSS pixels.
   * @param {number} height Likewise.
   */
  #paint(context, view, width, height) {
    const { bitmap, faces, selected, mask, mirrored, isFrame } = view;
    context.imageSmoothingQuality = isFrame ? "low" : "high"; // the high quality takes too long for each frame
    context.fillStyle = "white"; // the background of transparent pixels, as in the networks' input
    context.fillRect(0, 0, width + 1, height + 1);
    const scale = width / bitmap.width;
    context.save();
    if (mirrored) context.transform(-1, 0, 0, 1, width, 0);
    context.drawImage(bitmap, 0, 0, width, height);
    for (const { box, masks } of faces) {
      const [x0, y0, x1, y1] = box.map((value) => value * scale);
      const values = masks?.[mask - 1];
      if (values) context.drawImage(drawHeatmap(values), x0, y0, x1 - x0, y1 - y0);
    }
    context.restore();
    const scaled = faces.map((face) => ({ face, box: viewBoxOf(face, view).map((value) => value * scale) }));
    for (const { face, box: [x0, y0, x1, y1] } of scaled) {
      context.strokeStyle = this.#colourOf(face);
      context.lineWidth = face.id === selected ? 3 : 1.5;
      context.setLineDash(face.uncertain ? [6, 4] : []);
      context.beginPath();
      context.roundRect(x0, y0, x1 - x0, y1 - y0, 4);
      context.stroke();
    }
    for (const { face, box } of scaled) this.#drawLabel(context, face, box, [width, height]); // last, so that no box covers a label
  }

  /**
   * Draws a label above the box, or below it if there is no room, or inside its top if there is no room there either.
   *
   * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
   * @param {TrackedFace} face
   * @param {number[]} box x0, y0, x1, y1 in CSS pixels of the canvas.
   * @param {number[]} size Width and height of the canvas in CSS pixels.
   */
  #drawLabel(context, face, [x0, y0, x1, y1], [canvasWidth, canvasHeight]) {
    const text = labelOf(face);
    const size = Math.max(MIN_FONT_PX, Math.min((x1 - x0) / 7, MAX_FONT_PX));
    const pad = size * 0.4;
    context.font = `600 ${size}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 2 * pad;
    const height = size + 2 * pad;
    const left = Math.max(0, Math.min(x0 - 1, canvasWidth - width));
    const tops = [y0 - height, y1, Math.max(0, y0)];
    const top = tops.find((each) => each >= 0 && each + height <= canvasHeight) ?? 0;
    const colour = this.#colourOf(face);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(left, top, width, height, 4);
    context.fill();
    context.fillStyle = isBright(colour) ? "#000" : "#fff";
    context.textBaseline = "middle";
    context.fillText(text, left + pad, top + height / 2 + 1);
  }

  /** @param {TrackedFace} face */
  #colourOf(face) {
    return this.colours[face.expression] ?? UNKNOWN_COLOUR;
  }
}

/**
 * Gives a canvas as many pixels as it covers on the screen. A canvas that has them already keeps its memory.
 *
 * @param {HTMLCanvasElement} canvas
 */
export function resizeCanvas(canvas) {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

/**
 * Returns the box of a face as it is shown: x0, y0, x1, y1 in pixels of the image.
 *
 * @param {TrackedFace} face
 * @param {View} view
 */
function viewBoxOf({ box: [x0, y0, x1, y1] }, { bitmap, mirrored }) {
  return mirrored ? [bitmap.width - x1, y0, bitmap.width - x0, y1] : [x0, y0, x1, y1];
}

/**
 * Returns the label of a face, with a question mark if its expression is uncertain.
 *
 * @param {TrackedFace} face
 */
function labelOf(face) {
  return `${nameOf(face)} ${Math.round(face.confidence * 100)}%`;
}

/** @param {TrackedFace} face */
function nameOf({ expression, uncertain }) {
  return `${expression}${uncertain ? "?" : ""}`;
}

/** @param {number} faceCount */
function countText(faceCount) {
  return faceCount === 0 ? "no face" : faceCount === 1 ? "one face" : `${faceCount} faces`;
}

/**
 * Returns whether black text is more readable than white text on a colour.
 *
 * @param {string} colour As #rrggbb.
 */
function isBright(colour) {
  const [red, green, blue] = [1, 3, 5].map((i) => (parseInt(colour.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18;
}
