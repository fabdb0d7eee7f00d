/** The engine in the browser: sends its tasks to `worker.js`. */

import { PageError } from "./errors.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {import("./types.js").Model} Model */

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

  constructor() {
    this.#worker.onmessage = ({ data: { id, result, error } }) => {
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
   * @param {number} [threads] WebAssembly threads; as many as the page may use by default.
   */
  static async open(model, host, threads) {
    const engine = new BrowserEngine();
    const classifier = host.url(model.file);
    const detector = ["yunet.onnx", "centerface.onnx"].map((file) => new URL(file, classifier).href);
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

  /** @param {PageError} error */
  #end(error) {
    this.#error = error;
    this.#resolveEnded();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
