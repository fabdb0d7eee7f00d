/** The engine behind the page: pictures and frames go to `mien serve`. */

import { Problem } from "./problem.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Engine} Engine */
/** @typedef {import("./home.js").Home} Home */

const JPEG_QUALITY = 0.9;

/** @returns {Problem} */
const gone = () => new Problem("The service does not answer any more.", { engineGone: true });

/** @implements {Engine} */
export class ServiceEngine {
  /** The service gives no masks. */
  masks = 0;
  /** @type {Promise<Connection> | null} */
  #connection = null;
  #canvas = new OffscreenCanvas(1, 1);

  /** @param {Home} home */
  constructor(home) {
    this.home = home;
  }

  /**
   * @param {Blob} picture
   * @param {string} name
   * @returns {Promise<Answer>}
   */
  async picture(picture, name) {
    const form = new FormData();
    form.append("pictures", picture, name);
    const started = performance.now();
    const request = { method: "POST", body: form, headers: this.home.headers };
    const response = await fetch(this.home.url("v1/recognize"), request).catch(() => {
      throw gone();
    });
    const said = await response.json().catch(() => null);
    if (!response.ok) throw refused(response.status, said);
    return answer(said.pictures[0], started);
  }

  /**
   * @param {ImageBitmap} frame
   * @returns {Promise<Answer & {frame: ImageBitmap}>}
   */
  async frame(frame) {
    const [connection, jpeg] = await Promise.all([this.#connected(), this.#encoded(frame)]);
    const started = performance.now();
    const said = await connection.ask(jpeg);
    return { ...answer(said, started), frame };
  }

  close() {
    this.#connection?.then(({ socket }) => socket.close()).catch(() => {});
    this.#connection = null;
  }

  /** The connection there is, or a new one. */
  #connected() {
    if (this.#connection) return this.#connection;
    const url = new URL(this.home.url("v1/frames"));
    url.protocol = url.protocol.replace("http", "ws");
    if (this.home.token) url.searchParams.set("token", this.home.token);
    const connection = new Connection(new WebSocket(url));
    const opening = connection.opened.then(() => connection);
    connection.socket.addEventListener("close", () => {
      if (this.#connection === opening) this.#connection = null; // the next frame tries a new one
    });
    this.#connection = opening;
    return opening;
  }

  /** @param {ImageBitmap} frame */
  #encoded(frame) {
    this.#canvas.width = frame.width;
    this.#canvas.height = frame.height;
    this.#canvas.getContext("2d")?.drawImage(frame, 0, 0);
    return this.#canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  }
}

/** A connection on which each frame gets its own answer, even where one is sent before the last is answered. */
class Connection {
  #sent = 0;
  /**
   * Whoever waits for an answer, by the number that the service gives the frame.
   *
   * @type {Map<number, {resolve: (said: any) => void, reject: (problem: Problem) => void}>}
   */
  #waiting = new Map();

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    this.opened = new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(gone());
    });
    socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      this.#waiting.get(said.frame)?.resolve(said);
      this.#waiting.delete(said.frame);
    };
    socket.onclose = ({ reason }) => {
      const problem = reason ? new Problem(sentence(reason), { engineGone: true }) : gone();
      for (const { reject } of this.#waiting.values()) reject(problem);
    };
  }

  /**
   * @param {Blob} jpeg
   * @returns {Promise<any>} What the service says of it.
   */
  ask(jpeg) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(gone());
      this.#waiting.set(++this.#sent, { resolve, reject });
      this.socket.send(jpeg);
    });
  }
}

/**
 * @param {any} said
 * @param {number} started
 * @returns {Answer}
 */
function answer(said, started) {
  if (said.error) throw new Problem(sentence(said.error));
  return { width: said.width, height: said.height, faces: said.faces, faces_ms: performance.now() - started };
}

/**
 * @param {number} status
 * @param {any} said
 */
function refused(status, said) {
  const reason = [said?.detail, said?.error].find((each) => typeof each === "string");
  return new Problem(reason ? sentence(reason) : `The service refuses the picture with status ${status}.`);
}

/**
 * A reason as the service gives it, as a sentence.
 *
 * @param {string} reason
 */
function sentence(reason) {
  return reason[0].toUpperCase() + reason.slice(1) + (/[.!?]$/.test(reason) ? "" : ".");
}
