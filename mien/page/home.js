/** Where the page comes from: its models, and whether a service is behind it. */

import { Problem } from "./problem.js";

/** @typedef {import("./types.js").Model} Model */

export class Home {
  /** @type {Model[]} */
  models = [];
  /** The name of the model to begin with. */
  first = "";

  /**
   * @param {string} list Where the models are listed, relative to the page: the service's `v1/models`, or the
   *   `models.json` of a static folder, which has no service.
   * @param {string | null} token The service's, if it asks for one.
   */
  constructor(list, token) {
    this.list = list;
    this.token = token;
  }

  /** Whether there is a service. */
  get hasService() {
    return this.list !== "models.json";
  }

  /** The model to begin with, which is the service's own. */
  get own() {
    return this.models.find(({ name }) => name === this.first) ?? this.models[0];
  }

  /** What each request must carry. */
  get headers() {
    return /** @type {Record<string, string>} */ (this.token ? { Authorization: `Bearer ${this.token}` } : {});
  }

  /**
   * A path of the service or the folder, wherever the page is hosted.
   *
   * @param {string} path
   */
  url(path) {
    return new URL(path.replace(/^\//, ""), document.baseURI).href;
  }

  /** Reads the list of models. */
  async load() {
    const response = await fetch(this.url(this.list), { headers: this.headers }).catch(() => null);
    if (response?.status === 401 || response?.status === 403) {
      throw new Problem(
        this.token
          ? "The service does not know this token; write %, & and # of it as %25, %26 and %23 in the page's address."
          : "The service asks for a token: open the page with #token=… at the end of its address.",
      );
    }
    const listed = response?.ok ? await response.json().catch(() => null) : null;
    if (!listed?.models?.length) {
      throw new Problem(`The list of models, ${this.list}, could not be read; whoever hosts this page must put it there.`);
    }
    this.models = listed.models;
    this.first = listed.default;
  }
}
