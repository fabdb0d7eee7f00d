/** Shows the current picture or frame: its faces, bars, timeline and result message. */

import { Bars } from "./bars.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";
import { Tracks } from "./tracks.js";

/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */

const ANNOUNCEMENT_INTERVAL_MS = 1000; // a screen reader could not keep up with each frame

export class Viewer {
  /** @type {ImageBitmap | null} */
  #bitmap = null;
  /** @type {TrackedFace[]} */
  #faces = [];
  /** The number of the selected face. @type {number | null} */
  #selected = null;
  #tracks = new Tracks(0);
  /** Whether the current image is a frame, and not a picture. */
  #isFrame = false;
  #mirrored = false;
  #now_s = 0;
  #announced_ms = 0;
  /** The stage whose mask is drawn over the faces; 0 for none. */
  mask = 0;

  /** @param {(id: string) => any} element Returns an element of the page by its id. */
  constructor(element) {
    this.message = element("message");
    this.announcement = element("announcement");
    this.empty = element("empty");
    this.history = element("history");
    this.heading = element("heading");
    this.bars = new Bars(element("bars"));
    this.timeline = new Timeline(element("timeline"));
    this.stage = new Stage(element("stage"), (id) => this.#select(id));
  }

  /** @param {Model} model The model that recognises from now on. */
  setModel(model) {
    this.#tracks.changeModel(model.calibration.uncertain_below);
    this.bars.setModel(model);
    this.stage.colours = model.colours;
    this.timeline.colours = model.colours;
  }

  get isEmpty() {
    return this.#bitmap === null;
  }

  /**
   * Returns a copy of the current image and its time; an engine takes ownership of the bitmap that it gets.
   *
   * @returns {Promise<{bitmap: ImageBitmap, time_s: number} | null>}
   */
  async copyFrame() {
    const time_s = this.#now_s;
    return this.#bitmap && { bitmap: await createImageBitmap(this.#bitmap), time_s };
  }

  /** Removes the current image and ends all tracks. */
  clear() {
    this.#setImage(null, []);
    this.#tracks = new Tracks(this.#tracks.uncertain_below);
    this.#isFrame = false;
    this.refresh();
  }

  /**
   * @param {ImageBitmap} bitmap
   * @param {Face[] | null} faces Null until they are known.
   */
  showPicture(bitmap, faces) {
    this.#isFrame = false;
    this.#selected = null; // it was a face of another picture
    this.#setImage(bitmap, (faces ?? []).map((face, i) => ({ ...face, id: i + 1 })));
    this.refresh();
    if (faces) this.#describeSelected();
    else this.showMessage("Looking for faces…");
  }

  /**
   * Shows the next frame of a video or the camera.
   *
   * @param {ImageBitmap} bitmap
   * @param {Face[]} faces
   * @param {number} time_s
   * @param {boolean} mirrored Whether to show it as a mirror image.
   * @param {boolean} [jumped] Whether it does not follow the previous frame.
   * @returns {TrackedFace[]} The faces with their track numbers and smoothed probabilities.
   */
  showFrame(bitmap, faces, time_s, mirrored, jumped = false) {
    this.#isFrame = true;
    this.#now_s = time_s;
    this.#setImage(bitmap, this.#tracks.update(faces, time_s, jumped), mirrored);
    this.refresh();
    this.#describeSelected();
    return this.#faces;
  }

  /**
   * @param {string} text
   * @param {string} [announcement] The text for screen readers.
   */
  showMessage(text, announcement = text) {
    this.message.textContent = text;
    const now_ms = performance.now();
    const isTooSoon = this.#isFrame && now_ms - this.#announced_ms < ANNOUNCEMENT_INTERVAL_MS;
    if (this.announcement.textContent === announcement || isTooSoon) return;
    this.announcement.textContent = announcement;
    this.#announced_ms = now_ms;
  }

  /** Draws everything again. */
  refresh() {
    const selected = this.#faces.find(({ id }) => id === this.#selected) ?? null;
    this.empty.hidden = !this.isEmpty;
    const faces = this.#mirrored ? [...this.#faces].reverse() : this.#faces; // from left to right on the screen
    const options = { selected: this.#selected, mask: this.mask, mirrored: this.#mirrored, isFrame: this.#isFrame };
    this.stage.show(this.#bitmap && { bitmap: this.#bitmap, faces, ...options });
    const number = faces.findIndex(({ id }) => id === this.#selected) + 1;
    this.heading.textContent = this.#faces.length > 1 ? `Face ${number} of ${this.#faces.length}` : "Expression";
    this.bars.show(selected);
    this.history.hidden = !this.#isFrame;
    if (this.#isFrame) this.timeline.draw(this.#tracks.history(this.#selected), this.#now_s);
  }

  /** @param {number} id */
  #select(id) {
    this.#selected = id;
    this.refresh();
    this.#describeSelected();
  }

  /**
   * @param {ImageBitmap | null} bitmap
   * @param {TrackedFace[]} faces
   * @param {boolean} [mirrored]
   */
  #setImage(bitmap, faces, mirrored = false) {
    if (this.#bitmap !== bitmap) this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#faces = faces;
    this.#mirrored = mirrored;
    if (!faces.some(({ id }) => id === this.#selected)) {
      const largest = faces.reduce((a, b) => (widthOf(b) > widthOf(a) ? b : a), faces[0]);
      this.#selected = largest?.id ?? null;
    }
  }

  /** Shows the expression of the selected face. Its confidence in a video changes too often to be announced. */
  #describeSelected() {
    const selected = this.#faces.find(({ id }) => id === this.#selected);
    if (!selected) {
      this.showMessage("No face was found.");
      return;
    }
    const { expression, confidence, uncertain } = selected;
    const name = uncertain ? `Perhaps ${expression}?` : `${expression[0].toUpperCase()}${expression.slice(1)},`;
    const text = `${name} ${Math.round(confidence * 100)}%`;
    this.showMessage(text, `${this.heading.textContent}: ${this.#isFrame ? name : text}`);
  }
}

/** @param {Face} face */
function widthOf({ box }) {
  return box[2] - box[0];
}
