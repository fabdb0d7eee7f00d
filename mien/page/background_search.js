/** Lets `searcher.js` search frames in another worker, so that no frame waits for it. */

/** @typedef {import("./yunet.js").Candidate} Candidate */

const MIN_PAUSE_MS = 200; // between two searches while faces are followed
const PAUSE_RATIO = 4; // the pause is this many times as long as the search before it, which leaves time to a slow machine

export class BackgroundSearch {
  /** @type {Worker | null} */
  #worker = null;
  #isBusy = true; // until the worker has opened its networks
  #isFirst = true;
  /** Counts the videos; the result of a search for an earlier one is ignored. */
  #video = 0;
  #started_ms = 0;
  #ended_ms = 0;
  /** @type {Candidate[] | null} */
  #found = null;
  /** Whether the worker does not run. */
  failed = false;

  /** @param {{yunet: Uint8Array, centerface: Uint8Array}} files The networks of the detector. */
  constructor(files) {
    this.files = files;
  }

  /** Starts with another video. */
  restart() {
    this.#video++;
    this.#isFirst = true;
    this.#found = null;
  }

  /** Returns the result of the last search, once. */
  take() {
    const found = this.#found;
    this.#found = null;
    return found;
  }

  /**
   * Returns whether it is time for another search.
   *
   * @param {boolean} isUrgent Whether no face is followed meanwhile.
   */
  isDue(isUrgent) {
    if (!this.#worker) this.#open();
    const pause_ms = isUrgent ? 0 : Math.max(MIN_PAUSE_MS, PAUSE_RATIO * (this.#ended_ms - this.#started_ms));
    return (this.failed || !this.#isBusy) && performance.now() - this.#ended_ms >= pause_ms;
  }

  /**
   * Starts to search a frame.
   *
   * @param {import("./types.js").Pixels} image It is handed over to the other worker.
   */
  start(image) {
    this.#isBusy = true;
    this.#started_ms = performance.now();
    const task = { task: "search", id: this.#video, image, first: this.#isFirst };
    this.#worker?.postMessage(task, [image.data.buffer]);
    this.#isFirst = false;
  }

  #open() {
    const worker = (this.#worker = new Worker(new URL("searcher.js", import.meta.url), { type: "module" }));
    worker.onmessage = ({ data: { id, result, error } }) => {
      if (error) return this.#fail();
      if (id === undefined) return; // a sign of life
      this.#isBusy = false;
      this.#ended_ms = performance.now();
      if (id === this.#video) this.#found = result ?? null;
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail();
    };
    worker.postMessage({ task: "open", id: -1, files: this.files });
  }

  /** Leaves the searches to the caller, who has a working copy of the networks. */
  #fail() {
    this.#worker?.terminate();
    this.failed = true;
  }
}
