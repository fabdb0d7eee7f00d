/** The engine in the browser: sends its tasks to `worker.js`. */

import { PageError } from "./errors.js";
import { HEARTBEAT_MS } from "./tasks.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {import("./types.js").Model} Model */

const MAX_SILENT_TICKS = 10; // counted in ticks and not in time, because a computer may sleep

/** @implements {Engine} */
export class BrowserEngine {
  /** Number of masks per face. */
  maskCount = 0;
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #nextId = 0;
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: PageError) => void}>} */
  #pending = new Map();
  /** The error that ended the engine. @type {PageError | null} */
  #error = null;
  #resolveEnded = () => {};
  /** Resolves when the engine has ended. @type {Promise<void>} */
  ended = new Promise((resolve) => {
    this.#resolveEnded = resolve;
  });

  /** The times in a row that the worker was looked at without a sign of life. */
  #silentTicks = 0;
  #timer = setInterval(() => this.#checkLife(), HEARTBEAT_MS);

  /** @param {(bytes: number) => void} onProgress Called with the number of bytes of each part that has arrived. */
  constructor(onProgress) {
    this.#worker.onmessage = ({ data: { id, result, error, bytes } }) => {
      this.#silentTicks = 0;
      if (bytes) onProgress(bytes);
      if (id === undefined) return;
      const task = this.#pending.get(id);
      this.#pending.delete(id);
      if (error) task?.reject(new PageError(error));
      else task?.resolve(result);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const reason = event.message ?? "worker";
      this.#end(new PageError(`This browser cannot run the models (${reason}); update it.`, { engineFailed: true }));
    };
  }

  /**
   * Loads a model and the face detector.
   *
   * @param {Model} model
   * @param {import("./host.js").Host} host
   * @param {{threads?: number, onProgress?: (fraction: number) => void}} [options] WebAssembly threads, as many as the
   *   page may use by default; and what is called with the fraction of the files that has arrived.
   */
  static async open(model, host, { threads, onProgress = () => {} } = {}) {
    const total = [model, ...host.detector].reduce((sum, { bytes = NaN }) => sum + bytes, 0);
    let loaded = 0;
    const engine = new BrowserEngine((bytes) => onProgress(Math.min(1, (loaded += bytes) / total)));
    const classifier = host.fileUrl(model);
    const [yunet, centerface] = host.detector.map((file) => host.fileUrl(file));
    const detector = { yunet, centerface };
    const task = { task: "open", name: model.name, classifier, detector, headers: host.headers, threads };
    const { maskCount } = await engine.#send(task).catch(({ message }) => {
      engine.close(); // otherwise each failed attempt would leave a worker behind
      throw new PageError(message, { engineFailed: true });
    });
    engine.maskCount = maskCount;
    return engine;
  }

  /**
   * @param {Blob} picture
   * @param {string} name
   * @returns {Promise<Answer>}
   */
  recognisePicture(picture, name) {
    return this.#send({ task: "recognisePicture", picture, name });
  }

  /**
   * @param {ImageBitmap} frame
   * @param {boolean} first
   * @returns {Promise<Answer & {frame: ImageBitmap}>}
   */
  recogniseFrame(frame, first) {
    return this.#send({ task: "recogniseFrame", frame, first }, [frame]);
  }

  close() {
    this.#worker.terminate();
    this.#end(new PageError("Another engine was chosen; try again."));
  }

  /**
   * @param {object} task
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  #send(task, transfer = []) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#error) return reject(this.#error);
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...task }, transfer);
    });
  }

  /** Ends the engine if its worker has been silent for long although it has tasks, because the browser stopped it. */
  #checkLife() {
    if (!this.#pending.size) this.#silentTicks = 0;
    if (this.#silentTicks++ < MAX_SILENT_TICKS) return;
    this.#worker.terminate();
    this.#end(new PageError("The browser has stopped the recognition, perhaps for lack of memory.", { engineFailed: true }));
  }

  /** @param {PageError} error */
  #end(error) {
    clearInterval(this.#timer);
    this.#error = error;
    this.#resolveEnded();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
