/** The engine in the browser: what the page asks of `worker.js`. */

import { Problem } from "./problem.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {import("./types.js").Model} Model */

/** @implements {Engine} */
export class BrowserEngine {
  /** How many masks it gives of each face. */
  masks = 0;
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #asked = 0;
  /** @type {Map<number, {resolve: (result: any) => void, reject: (problem: Problem) => void}>} */
  #open = new Map();
  /** Why it answers no more. @type {Problem | null} */
  #problem = null;
  #end = () => {};
  /** Resolves when it answers no more. @type {Promise<void>} */
  ended = new Promise((resolve) => {
    this.#end = resolve;
  });

  constructor() {
    this.#worker.onmessage = ({ data: { id, result, problem } }) => {
      const asked = this.#open.get(id);
      this.#open.delete(id);
      if (problem) asked?.reject(new Problem(problem));
      else asked?.resolve(result);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Problem(`This browser cannot run the networks (${event.message ?? "worker"}); update it.`, { engineGone: true }));
    };
  }

  /**
   * @param {Model} model
   * @param {import("./home.js").Home} home
   * @param {number} [threads] Of WebAssembly; as many as the page may have when left out.
   */
  static async open(model, home, threads) {
    const engine = new BrowserEngine();
    const classifier = home.url(model.file);
    const detector = new URL("blazeface_full_range.onnx", classifier).href;
    const message = { task: "open", name: model.name, classifier, detector, headers: home.headers, threads };
    const opened = await engine.#ask(message).catch(({ message }) => {
      engine.close(); // or its worker would stay, one for each try
      throw new Problem(message, { engineGone: true });
    });
    engine.masks = opened.masks;
    return engine;
  }

  /**
   * @param {Blob} picture
   * @param {string} name
   * @returns {Promise<Answer>}
   */
  picture(picture, name) {
    return this.#ask({ task: "picture", picture, name });
  }

  /**
   * @param {ImageBitmap} frame
   * @param {boolean} first
   * @returns {Promise<Answer & {frame: ImageBitmap}>}
   */
  frame(frame, first) {
    return this.#ask({ task: "frame", frame, first }, [frame]);
  }

  close() {
    this.#worker.terminate();
    this.#fail(new Problem("The engine was changed; try again."));
  }

  /**
   * @param {object} message
   * @param {Transferable[]} [given]
   * @returns {Promise<any>}
   */
  #ask(message, given = []) {
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      if (this.#problem) return reject(this.#problem);
      this.#open.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, given);
    });
  }

  /** @param {Problem} problem */
  #fail(problem) {
    this.#problem = problem;
    this.#end();
    for (const { reject } of this.#open.values()) reject(problem);
    this.#open.clear();
  }
}
