/** The choice between two engines: the one in the browser, and the service. */

import { BrowserEngine } from "./browser.js";
import { ServiceEngine } from "./service.js";

/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {"browser" | "service"} Kind */

export class Engines {
  #service;
  /**
   * The browser's engine. It stays open while the service is used, to take over if the service stops.
   *
   * @type {Promise<BrowserEngine> | null}
   */
  #browser = null;
  #modelName = "";
  /** @type {(engine: Promise<Engine>) => void} */
  #resolveFirst = () => {};
  /**
   * The selected engine. It is pending until an engine is selected, so that no picture is sent anywhere before.
   *
   * @type {Promise<Engine>}
   */
  current = new Promise((resolve) => {
    this.#resolveFirst = resolve;
  });
  #resolveChanged = () => {};
  /** Resolves when another engine is selected. @type {Promise<void>} */
  changed = Promise.resolve();

  /**
   * @param {import("./host.js").Host} host
   * @param {(fraction: number) => void} onProgress Called while the browser's engine is opened.
   */
  constructor(host, onProgress) {
    this.host = host;
    this.onProgress = onProgress;
    this.#service = new ServiceEngine(host);
    this.current.catch(() => {}); // callers that await it show the error
  }

  /**
   * Selects an engine.
   *
   * @param {Kind} kind
   * @param {import("./types.js").Model} model The model of the browser's engine; the service has its own.
   */
  use(kind, model) {
    if (kind === "service") {
      this.current = Promise.resolve(this.#service);
    } else {
      this.#service.close();
      this.current = this.#openBrowserEngine(model);
    }
    this.#resolveFirst(this.current);
    this.#resolveChanged();
    this.changed = new Promise((resolve) => {
      this.#resolveChanged = resolve;
    });
    return this.current;
  }

  /**
   * Makes `current` fail with an error.
   *
   * @param {unknown} error
   */
  fail(error) {
    this.current = Promise.reject(error);
    this.current.catch(() => {});
    this.#resolveFirst(this.current);
  }

  /** @param {import("./types.js").Model} model */
  #openBrowserEngine(model) {
    if (this.#browser && this.#modelName === model.name) return this.#browser;
    this.#browser?.then((engine) => engine.close()).catch(() => {}); // its error was shown when it failed to open
    const onProgress = (/** @type {number} */ fraction) => {
      if (this.#browser === opening) this.onProgress(0.95 * fraction); // then the networks are prepared
    };
    const opening = BrowserEngine.open(model, this.host, { onProgress });
    const forget = () => {
      if (this.#browser === opening) this.#browser = null; // the next selection opens it again
    };
    opening.then(({ ended }) => ended.then(forget), forget);
    this.#browser = opening;
    this.#modelName = model.name;
    this.onProgress(0);
    const end = () => {
      if (this.#browser === opening || !this.#browser) this.onProgress(1); // no other model was selected meanwhile
    };
    opening.then(end, end);
    return opening;
  }
}
