/** The engine on the service: sends pictures and frames to `mien serve`. */

import { PageError } from "./errors.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {import("./host.js").Host} Host */

const JPEG_QUALITY = 0.9;

/** @returns {PageError} */
const noAnswer = () => new PageError("The service does not answer any more.", { engineFailed: true });

/** @implements {Engine} */
export class ServiceEngine {
  /** The service returns no masks. */
  maskCount = 0;
  /** @type {Promise<Connection> | null} */
  #connection = null;
  #canvas = new OffscreenCanvas(1, 1);
  /** Resolves when the last frame is encoded. @type {Promise<any>} */
  #encoding = Promise.resolve();

  /** @param {Host} host */
  constructor(host) {
    this.host = host;
  }

  /**
   * @param {Blob} picture
   * @param {string} name
   * @returns {Promise<Answer>}
   */
  async recognisePicture(picture, name) {
    const form = new FormData();
    form.append("pictures", picture, name);
    const started = performance.now();
    const request = { method: "POST", body: form, headers: this.host.headers };
    const response = await fetch(this.host.url("v1/recognize"), request).catch(() => {
      throw noAnswer();
    });
    const body = await response.json().catch(() => null);
    if (!response.ok) throw toError(response.status, body);
    return toAnswer(body.pictures[0], started);
  }

  /**
   * @param {ImageBitmap} frame
   * @returns {Promise<Answer & {frame: ImageBitmap}>}
   */
  async recogniseFrame(frame) {
    const connecting = this.#connect(); // now, so that a frame before `close` opens no connection after it
    connecting.catch(() => {}); // it is awaited later
    const sending = this.#encoding.then(() => Promise.all([connecting, this.#encode(frame)]));
    this.#encoding = sending.catch(() => {}); // frames are sent in order, even if a later one is encoded faster
    const [connection, jpeg] = await sending;
    const started = performance.now();
    const message = await connection.send(jpeg);
    return { ...toAnswer(message, started), frame };
  }

  close() {
    this.#connection?.then(({ socket }) => socket.close()).catch(() => {});
    this.#connection = null;
  }

  /** Returns the open connection, or opens a new one. */
  #connect() {
    if (this.#connection) return this.#connection;
    const url = new URL(this.host.url("v1/frames"));
    url.protocol = url.protocol.replace("http", "ws");
    if (this.host.token) url.searchParams.set("token", this.host.token);
    const connection = new Connection(new WebSocket(url));
    const opening = connection.opened.then(() => connection);
    connection.socket.addEventListener("close", () => {
      if (this.#connection === opening) this.#connection = null; // the next frame opens a new one
    });
    this.#connection = opening;
    return opening;
  }

  /** @param {ImageBitmap} frame */
  #encode(frame) {
    this.#canvas.width = frame.width;
    this.#canvas.height = frame.height;
    this.#canvas.getContext("2d")?.drawImage(frame, 0, 0);
    return this.#canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  }
}

/** A WebSocket that matches each answer with its frame, even if several frames are sent before the first answer. */
class Connection {
  #sentCount = 0;
  /**
   * Frames without an answer yet, by the number that the service gives them.
   *
   * @type {Map<number, {resolve: (message: any) => void, reject: (error: PageError) => void}>}
   */
  #pending = new Map();

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    this.opened = new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(noAnswer());
    });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.#pending.get(message.frame)?.resolve(message);
      this.#pending.delete(message.frame);
    };
    socket.onclose = ({ reason }) => {
      const error = reason ? new PageError(toSentence(reason), { engineFailed: true }) : noAnswer();
      for (const { reject } of this.#pending.values()) reject(error);
    };
  }

  /**
   * Sends a frame and returns the message of the service about it.
   *
   * @param {Blob} jpeg
   * @returns {Promise<any>}
   */
  send(jpeg) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(noAnswer());
      this.#pending.set(++this.#sentCount, { resolve, reject });
      this.socket.send(jpeg);
    });
  }
}

/**
 * @param {any} record
 * @param {number} started
 * @returns {Answer}
 */
function toAnswer(record, started) {
  if (record.error) throw new PageError(toSentence(record.error));
  return { width: record.width, height: record.height, faces: record.faces, faces_ms: performance.now() - started };
}

/**
 * @param {number} status
 * @param {any} body
 */
function toError(status, body) {
  const reason = [body?.detail, body?.error].find((each) => typeof each === "string");
  return new PageError(reason ? toSentence(reason) : `The service rejected the picture with status ${status}.`);
}

/**
 * Adds a capital letter and a full stop to a message of the service.
 *
 * @param {string} reason
 */
function toSentence(reason) {
  return reason[0].toUpperCase() + reason.slice(1) + (/[.!?]$/.test(reason) ? "" : ".");
}
