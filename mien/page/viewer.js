/** What is shown of the picture or frame at hand: faces, bars, timeline, and the sentence that says it all. */

import { Bars } from "./bars.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";
import { Tracks } from "./tracks.js";

/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./tracks.js").ShownFace} ShownFace */

const SPOKEN_EVERY_MS = 1000; // no faster, or a screen reader would never end

export class Viewer {
  /** @type {ImageBitmap | null} */
  #bitmap = null;
  /** @type {ShownFace[]} */
  #faces = [];
  /** @type {number | null} */
  #chosen = null;
  #tracks = new Tracks(0);
  #live = false;
  #mirrored = false;
  #now_s = 0;
  #spoken_ms = 0;
  /** Which stage's mask lies over the faces; 0 is none. */
  mask = 0;

  /** @param {(id: string) => any} find An element of the page by its id. */
  constructor(find) {
    this.said = find("said");
    this.spoken = find("spoken");
    this.empty = find("empty");
    this.past = find("past");
    this.face = find("face");
    this.bars = new Bars(find("bars"));
    this.timeline = new Timeline(find("timeline"));
    this.stage = new Stage(find("stage"), (id) => this.#choose(id));
  }

  /** @param {Model} model Which recognises from now on. */
  name(model) {
    this.#tracks.changeModel(model.calibration.uncertain_below);
    this.bars.name(model);
    this.stage.colours = model.colours;
    this.timeline.colours = model.colours;
  }

  get isEmpty() {
    return this.#bitmap === null;
  }

  /**
   * What is shown, for an engine to look at: it keeps none that it is given.
   *
   * @returns {Promise<{bitmap: ImageBitmap, time_s: number} | null>}
   */
  async copy() {
    const time_s = this.#now_s;
    return this.#bitmap && { bitmap: await createImageBitmap(this.#bitmap), time_s };
  }

  /** Nothing is shown any more. */
  clear() {
    this.#take(null, []);
    this.#tracks = new Tracks(this.#tracks.uncertain_below);
    this.#live = false;
    this.refresh();
  }

  /**
   * A picture; while its faces are looked for there are none.
   *
   * @param {ImageBitmap} bitmap
   * @param {Face[] | null} faces
   */
  showPicture(bitmap, faces) {
    this.#live = false;
    this.#chosen = null; // it was of another picture
    this.#take(bitmap, (faces ?? []).map((face, i) => ({ ...face, id: i + 1 })));
    this.refresh();
    if (faces) this.#sayChosen();
    else this.say("Looking for faces…");
  }

  /**
   * The next frame of a video.
   *
   * @param {ImageBitmap} bitmap
   * @param {Face[]} faces
   * @param {number} time_s
   * @param {boolean} mirrored Whether to show it as a mirror would.
   * @param {boolean} [jumped] Whether it does not go on from the frame before.
   * @returns {ShownFace[]} Each face with the number that it keeps from frame to frame, and what it shows over time.
   */
  showFrame(bitmap, faces, time_s, mirrored, jumped = false) {
    this.#live = true;
    this.#now_s = time_s;
    this.#take(bitmap, this.#tracks.update(faces, time_s, jumped), mirrored);
    this.refresh();
    this.#sayChosen();
    return this.#faces;
  }

  /**
   * @param {string} sentence
   * @param {string} [spoken] What a screen reader says instead.
   */
  say(sentence, spoken = sentence) {
    this.said.textContent = sentence;
    const now_ms = performance.now();
    if (this.spoken.textContent === spoken || (this.#live && now_ms - this.#spoken_ms < SPOKEN_EVERY_MS)) return;
    this.spoken.textContent = spoken;
    this.#spoken_ms = now_ms;
  }

  /** Draws everything anew. */
  refresh() {
    const chosen = this.#faces.find(({ id }) => id === this.#chosen) ?? null;
    this.empty.hidden = !this.isEmpty;
    const faces = this.#mirrored ? [...this.#faces].reverse() : this.#faces; // from left to right, as they are shown
    const view = { faces, chosen: this.#chosen, mask: this.mask, mirrored: this.#mirrored, moving: this.#live };
    this.stage.show(this.#bitmap && { bitmap: this.#bitmap, ...view });
    const which = faces.findIndex(({ id }) => id === this.#chosen) + 1;
    this.face.textContent = this.#faces.length > 1 ? `Face ${which} of ${this.#faces.length}` : "Expression";
    this.bars.show(chosen);
    this.past.hidden = !this.#live;
    if (this.#live) this.timeline.draw(this.#tracks.history(this.#chosen), this.#now_s);
  }

  /** @param {number} id */
  #choose(id) {
    this.#chosen = id;
    this.refresh();
    this.#sayChosen();
  }

  /**
   * @param {ImageBitmap | null} bitmap
   * @param {ShownFace[]} faces
   * @param {boolean} [mirrored]
   */
  #take(bitmap, faces, mirrored = false) {
    if (this.#bitmap !== bitmap) this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#faces = faces;
    this.#mirrored = mirrored;
    if (!faces.some(({ id }) => id === this.#chosen)) {
      const largest = faces.reduce((a, b) => (width(b) > width(a) ? b : a), faces[0]);
      this.#chosen = largest?.id ?? null;
    }
  }

  /** Says what the chosen face shows; a moving one's confidence is not spoken, since it never rests. */
  #sayChosen() {
    const chosen = this.#faces.find(({ id }) => id === this.#chosen);
    if (!chosen) {
      this.say("No face was found.");
      return;
    }
    const { expression, confidence, uncertain } = chosen;
    const what = uncertain ? `Perhaps ${expression}?` : `${expression[0].toUpperCase()}${expression.slice(1)},`;
    const sentence = `${what} ${Math.round(confidence * 100)}%`;
    this.say(sentence, `${this.face.textContent}: ${this.#live ? what : sentence}`);
  }
}

/** @param {Face} face */
function width({ box }) {
  return box[2] - box[0];
}
