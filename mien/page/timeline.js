/** The probabilities of the chosen face over the last half minute. */

import { HISTORY_S } from "./tracks.js";

/** @typedef {import("./tracks.js").Moment} Moment */

const STRIP_PX = 8; // height of the strip that says the label at each time
const GAP_S = 0.5; // longer without the face, and the lines are interrupted, unless frames are as far apart

export class Timeline {
  #drawn_s = -Infinity;
  /** @type {Moment[]} */
  #drawn = [];
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {Record<string, string>} */
    this.colours = {};
  }

  /**
   * @param {Moment[]} history Of one face: the same array as long as it is the same face.
   * @param {number} now_s
   */
  draw(history, now_s) {
    // It moves once a second where the person wants little motion.
    if (this.#calm.matches && history === this.#drawn && Math.abs(now_s - this.#drawn_s) < 1) return;
    this.#drawn_s = now_s;
    this.#drawn = history;
    const context = this.canvas.getContext("2d");
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!context || !width) return;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    context.scale(devicePixelRatio, devicePixelRatio);
    const bottom = height - STRIP_PX - 4;
    /** @type {(time_s: number) => number} */
    const x = (time_s) => width * (1 - (now_s - time_s) / HISTORY_S);
    /** @type {(probability: number) => number} */
    const y = (probability) => 2 + (bottom - 2) * (1 - probability);
    this.#grid(context, width, bottom, y);
    const steps = history.slice(1).map(({ time_s }, i) => time_s - history[i].time_s).sort((a, b) => a - b);
    const gap_s = Math.max(GAP_S, 2.5 * (steps[steps.length >> 1] ?? 0));
    const leading = history.at(-1)?.expression;
    for (const [name, colour] of Object.entries(this.colours)) {
      context.strokeStyle = colour;
      context.lineWidth = name === leading ? 2.5 : 1;
      context.globalAlpha = name === leading ? 1 : 0.7;
      context.beginPath();
      history.forEach((moment, i) => {
        const gap = i === 0 || moment.time_s - history[i - 1].time_s > gap_s;
        context[gap ? "moveTo" : "lineTo"](x(moment.time_s), y(moment.probabilities[name]));
      });
      context.stroke();
    }
    history.slice(1).forEach((moment, i) => {
      const before = history[i];
      if (moment.time_s - before.time_s > gap_s) return;
      context.fillStyle = this.colours[before.expression];
      context.globalAlpha = before.uncertain ? 0.3 : 1;
      const [left, right] = [before, moment].map(({ time_s }) => Math.round(x(time_s) * devicePixelRatio) / devicePixelRatio);
      context.fillRect(left, height - STRIP_PX, right - left, STRIP_PX);
    });
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {number} bottom
   * @param {(probability: number) => number} y
   */
  #grid(context, width, bottom, y) {
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 1;
    context.globalAlpha = 0.18;
    context.beginPath();
    for (const share of [0, 0.5, 1]) {
      context.moveTo(0, Math.round(y(share)) + 0.5);
      context.lineTo(width, Math.round(y(share)) + 0.5);
    }
    for (let tenth = 1; tenth < HISTORY_S / 10; tenth++) {
      context.moveTo(Math.round((width * tenth * 10) / HISTORY_S) + 0.5, y(1));
      context.lineTo(Math.round((width * tenth * 10) / HISTORY_S) + 0.5, bottom);
    }
    context.stroke();
  }
}
