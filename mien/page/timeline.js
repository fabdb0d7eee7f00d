/** The probabilities of the selected face over the last 30 seconds. */

import { resizeCanvas } from "./stage.js";
import { HISTORY_S } from "./tracks.js";

/** @typedef {import("./tracks.js").Moment} Moment */

const STRIP_PX = 8; // height of the strip that shows the expression at each time
const GAP_S = 0.5; // without the face for longer, its lines are interrupted, unless the frame rate is very low
const STEP_S = 0.1; // time between two updates; the lines move by two pixels in it
const CALM_S = 1; // likewise for a user who prefers reduced motion
const UNKNOWN_COLOUR = "#808080"; // of a class that the current model does not have

export class Timeline {
  #drawn_s = -Infinity;
  /** @type {Moment[]} */
  #drawn = [];
  #reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {Record<string, string>} */
    this.colours = {};
  }

  /**
   * @param {Moment[]} history The history of one face; the same array in each call for the same face.
   * @param {number} now_s
   */
  draw(history, now_s) {
    const step_s = this.#reducedMotion.matches ? CALM_S : STEP_S;
    if (history === this.#drawn && now_s !== this.#drawn_s && Math.abs(now_s - this.#drawn_s) < step_s) return;
    this.#drawn_s = now_s;
    this.#drawn = history;
    const context = this.canvas.getContext("2d");
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!context || !width) return;
    resizeCanvas(this.canvas);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    const plot = new Plot(context, width, height, now_s);
    plot.drawGrid(getComputedStyle(this.canvas).color);
    const gap_s = maxGapOf(history);
    plot.drawLines(history, gap_s, this.colours);
    plot.drawStrip(history, gap_s, this.colours);
  }
}

/** One drawing of the timeline. */
class Plot {
  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {number} height
   * @param {number} now_s
   */
  constructor(context, width, height, now_s) {
    this.context = context;
    this.width = width;
    this.height = height;
    this.now_s = now_s;
    this.bottom = height - STRIP_PX - 4;
  }

  /** @param {number} time_s */
  x(time_s) {
    return this.width * (1 - (this.now_s - time_s) / HISTORY_S);
  }

  /** @param {number} probability */
  y(probability) {
    return 2 + (this.bottom - 2) * (1 - probability);
  }

  /** @param {string} colour */
  drawGrid(colour) {
    const { context, width } = this;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.globalAlpha = 0.18;
    context.beginPath();
    for (const probability of [0, 0.5, 1]) {
      context.moveTo(0, Math.round(this.y(probability)) + 0.5);
      context.lineTo(width, Math.round(this.y(probability)) + 0.5);
    }
    for (let time_s = 10; time_s < HISTORY_S; time_s += 10) {
      const x = Math.round((width * time_s) / HISTORY_S) + 0.5;
      context.moveTo(x, this.y(1));
      context.lineTo(x, this.bottom);
    }
    context.stroke();
  }

  /**
   * Draws one line per class; the line of the current expression is thicker.
   *
   * @param {Moment[]} history
   * @param {number} gap_s
   * @param {Record<string, string>} colours
   */
  drawLines(history, gap_s, colours) {
    const { context } = this;
    const current = history.at(-1)?.expression;
    for (const [name, colour] of Object.entries(colours)) {
      context.strokeStyle = colour;
      context.lineWidth = name === current ? 2.5 : 1;
      context.globalAlpha = name === current ? 1 : 0.7;
      context.beginPath();
      history.forEach((moment, i) => {
        const isAfterGap = i === 0 || moment.time_s - history[i - 1].time_s > gap_s;
        context[isAfterGap ? "moveTo" : "lineTo"](this.x(moment.time_s), this.y(moment.probabilities[name]));
      });
      context.stroke();
    }
  }

  /**
   * Draws the strip of expressions; uncertain ones are paler.
   *
   * @param {Moment[]} history
   * @param {number} gap_s
   * @param {Record<string, string>} colours
   */
  drawStrip(history, gap_s, colours) {
    const { context } = this;
    /** @type {(time_s: number) => number} */
    const devicePixelX = (time_s) => Math.round(this.x(time_s) * devicePixelRatio) / devicePixelRatio;
    history.slice(1).forEach((moment, i) => {
      const previous = history[i];
      if (moment.time_s - previous.time_s > gap_s) return;
      context.fillStyle = colours[previous.expression] ?? UNKNOWN_COLOUR;
      context.globalAlpha = previous.uncertain ? 0.3 : 1;
      const left = devicePixelX(previous.time_s);
      context.fillRect(left, this.height - STRIP_PX, devicePixelX(moment.time_s) - left, STRIP_PX);
    });
  }
}

/**
 * Returns the longest time between two moments that are still connected by a line.
 *
 * @param {Moment[]} history
 */
function maxGapOf(history) {
  const steps_s = history.slice(1).map(({ time_s }, i) => time_s - history[i].time_s).sort((a, b) => a - b);
  const median_s = steps_s[steps_s.length >> 1] ?? 0;
  return Math.max(GAP_S, 2.5 * median_s);
}
