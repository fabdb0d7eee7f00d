/** Which engine recognises now: the one in the browser, or the service. */

import { BrowserEngine } from "./browser.js";
import { ServiceEngine } from "./service.js";

/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {"browser" | "service"} Kind */

export class Engines {
  #service;
  /** The browser's, which stays open beside the service: it can step in when that is gone. @type {Promise<Engine> | null} */
  #browser = null;
  #model = "";
  /** @type {(engine: Promise<Engine>) => void} */
  #begin = () => {};
  /**
   * The one that recognises, once it is chosen and ready: nothing goes anywhere before.
   *
   * @type {Promise<Engine>}
   */
  current = new Promise((resolve) => {
    this.#begin = resolve;
  });
  #announce = () => {};
  /** Resolves when another engine is chosen. @type {Promise<void>} */
  changed = Promise.resolve();

  /** @param {import("./home.js").Home} home */
  constructor(home) {
    this.home = home;
    this.#service = new ServiceEngine(home);
    this.current.catch(() => {}); // whoever waits for it says why it cannot be had
  }

  /**
   * Lets one of them recognise from now on.
   *
   * @param {Kind} kind
   * @param {import("./types.js").Model} model For the engine in the browser; the service has its own.
   */
  use(kind, model) {
    if (kind === "service") {
      this.current = Promise.resolve(this.#service);
    } else {
      this.#service.close();
      this.current = this.#inBrowser(model);
    }
    this.#begin(this.current);
    this.#announce();
    this.changed = new Promise((resolve) => {
      this.#announce = resolve;
    });
    return this.current;
  }

  /**
   * There is none, and whoever waits for one is told why.
   *
   * @param {unknown} error
   */
  fail(error) {
    this.current = Promise.reject(error);
    this.current.catch(() => {});
    this.#begin(this.current);
  }

  /** @param {import("./types.js").Model} model */
  #inBrowser(model) {
    if (this.#browser && this.#model === model.name) return this.#browser;
    this.#browser?.then((engine) => engine.close()).catch(() => {}); // whoever waited for it has said so
    const opening = BrowserEngine.open(model, this.home);
    const forget = () => {
      if (this.#browser === opening) this.#browser = null; // so that choosing it again tries again
    };
    opening.then(({ ended }) => ended.then(forget), forget);
    this.#browser = opening;
    this.#model = model.name;
    return opening;
  }
}
