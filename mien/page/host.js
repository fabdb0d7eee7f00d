/** The host of the page: its list of models, and the service if there is one. */

import { PageError } from "./errors.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").ModelFile} ModelFile */

const DETECTOR = [{ file: "models/yunet.onnx" }, { file: "models/centerface.onnx" }];

export class Host {
  /** @type {Model[]} */
  models = [];
  /** The name of the default model. */
  defaultName = "";
  /** The files of the face detector, YuNet first. @type {ModelFile[]} */
  detector = DETECTOR;

  /**
   * @param {string} listPath Path of the list of models, relative to the page: `v1/models` of a service, or
   *   `models.json` of a static folder.
   * @param {string | null} token The service's token, if it needs one.
   */
  constructor(listPath, token) {
    this.listPath = listPath;
    this.token = token;
  }

  /** Whether the host is a service, and not a static folder. */
  get hasService() {
    return this.listPath !== "models.json";
  }

  /** The default model; on a service, the one that the service uses. */
  get defaultModel() {
    return this.models.find(({ name }) => name === this.defaultName) ?? this.models[0];
  }

  /** The headers of every request. */
  get headers() {
    return /** @type {Record<string, string>} */ (this.token ? { Authorization: `Bearer ${this.token}` } : {});
  }

  /**
   * Returns the URL of a path on the host.
   *
   * @param {string} path
   */
  url(path) {
    return new URL(path.replace(/^\//, ""), document.baseURI).href;
  }

  /**
   * Returns the URL of a model file. It changes with the file, so that the browser may keep what it has loaded.
   *
   * @param {ModelFile} file
   */
  fileUrl({ file, sha256 }) {
    return this.url(sha256 ? `${file}?sha256=${sha256}` : file);
  }

  /** Fetches the list of models. */
  async load() {
    const response = await fetch(this.url(this.listPath), { headers: this.headers }).catch(() => null);
    if (response?.status === 401 || response?.status === 403) {
      throw new PageError(
        this.token
          ? "The service does not accept this token; in the page's address, write its %, & and # as %25, %26 and %23."
          : "The service needs a token: add #token=… to the end of the page's address.",
      );
    }
    const list = response?.ok ? await response.json().catch(() => null) : null;
    if (!list?.models?.length) {
      throw new PageError(`The list of models, ${this.listPath}, could not be loaded; check that the host serves it.`);
    }
    this.models = list.models;
    this.defaultName = list.default;
    this.detector = list.detector ?? DETECTOR;
  }
}
