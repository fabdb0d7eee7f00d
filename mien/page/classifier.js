/**
 * Classifies gray faces: the counterpart of `mien/models/onnx_model.py`, `mien/preprocess.py` and
 * `mien/calibration.py`. All settings come from the model file.
 */

import { resize } from "./pixels.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Mask} Mask */
/** @typedef {import("./metadata.js").Metadata} Metadata */

/**
 * @typedef {object} Expression
 * @property {string} expression
 * @property {number} confidence
 * @property {boolean} uncertain
 * @property {Record<string, number>} probabilities
 */

/** @typedef {{expression: Expression, masks: Mask[]}} Result */

const BATCH_SIZE = 32; // faces per run of the network, so that a crowd does not fill the browser's memory

export class Classifier {
  /**
   * @param {any} ort The onnxruntime-web module.
   * @param {any} session
   * @param {Metadata} metadata
   */
  constructor(ort, session, metadata) {
    this.ort = ort;
    this.session = session;
    this.metadata = metadata;
    /** Names of the outputs that are masks, first stage first. */
    this.maskNames = session.outputNames.filter((/** @type {string} */ name) => name.startsWith("mask_"));
  }

  /**
   * @param {Pixels[]} faces Gray squares.
   * @returns {Promise<Result[]>}
   */
  async classify(faces) {
    const results = [];
    for (let start = 0; start < faces.length; start += BATCH_SIZE) {
      results.push(...(await this.#classifyBatch(faces.slice(start, start + BATCH_SIZE))));
    }
    return results;
  }

  /** @param {Pixels[]} faces */
  async #classifyBatch(faces) {
    const { size, channels } = this.metadata.preprocessing;
    const images = new this.ort.Tensor("float32", this.#toInput(faces), [faces.length, channels, size, size]);
    const outputs = await this.session.run({ images });
    const classCount = this.metadata.classes.length;
    return faces.map((_, i) => ({
      expression: this.#toExpression(outputs.logits.data.subarray(i * classCount, (i + 1) * classCount)),
      masks: this.maskNames.map((/** @type {string} */ name) => maskOf(outputs[name], i)),
    }));
  }

  /** @param {Pixels[]} faces */
  #toInput(faces) {
    const { size, channels, mean, std } = this.metadata.preprocessing;
    const images = new Float32Array(faces.length * channels * size * size);
    let to = 0;
    for (const face of faces) {
      const { data } = face.width === size && face.height === size ? face : resize(face, size, size);
      for (let channel = 0; channel < channels; channel++) {
        for (let i = 0; i < data.length; i++, to++) images[to] = (data[i] / 255 - mean) / std;
      }
    }
    return images;
  }

  /**
   * @param {Float32Array} logits
   * @returns {Expression}
   */
  #toExpression(logits) {
    const { classes, calibration } = this.metadata;
    const inverse = inverseTemperature(softmax(logits), calibration);
    const probabilities = softmax(logits.map((logit) => logit * inverse));
    const confidence = Math.max(...probabilities);
    return {
      expression: classes[probabilities.indexOf(confidence)],
      confidence,
      uncertain: confidence < calibration.uncertain_below,
      probabilities: Object.fromEntries(classes.map((name, i) => [name, probabilities[i]])),
    };
  }
}

/**
 * @param {Float32Array} logits
 * @returns {number[]} Probabilities, which sum to 1.
 */
function softmax(logits) {
  const max = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - max));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/**
 * Returns the factor that scales the logits of one face. It depends on the entropy of the face's probabilities; see
 * `mien/calibration.py`.
 *
 * @param {number[]} probabilities
 * @param {import("./metadata.js").Metadata["calibration"]} calibration
 * @returns {number}
 */
function inverseTemperature(probabilities, { temperature, temperature_unsure }) {
  const entropy = -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
  const unsureness = Math.min(1, Math.max(0, entropy / Math.log(Math.max(2, probabilities.length))));
  return (1 - unsureness) / temperature + unsureness / temperature_unsure;
}

/**
 * @param {{data: Float32Array, dims: number[]}} output (N, h, w)
 * @param {number} i Index of the face.
 * @returns {Mask}
 */
function maskOf({ data, dims: [, height, width] }, i) {
  return { width, height, values: data.slice(i * width * height, (i + 1) * width * height) };
}
