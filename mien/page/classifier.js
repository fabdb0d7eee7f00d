/**
 * Gray faces in, expressions out: the browser's counterpart of `mien/models/onnx_model.py`, `mien/preprocess.py`
 * and `mien/calibration.py`. All numbers come from the model file.
 */

import { resize } from "./pixels.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Mask} Mask */
/** @typedef {import("./metadata.js").Metadata} Metadata */
/** @typedef {{expression: string, confidence: number, uncertain: boolean, probabilities: Record<string, number>}} Expression */

const AT_ONCE = 32; // faces that go through the network together, so that a crowd does not fill the browser's memory

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
    this.masks = session.outputNames.filter((/** @type {string} */ name) => name.startsWith("mask_"));
  }

  /**
   * @param {Pixels[]} faces Gray squares.
   * @returns {Promise<{expression: Expression, masks: Mask[]}[]>}
   */
  async classify(faces) {
    const said = [];
    for (let start = 0; start < faces.length; start += AT_ONCE) {
      said.push(...(await this.#classifyTogether(faces.slice(start, start + AT_ONCE))));
    }
    return said;
  }

  /** @param {Pixels[]} faces */
  async #classifyTogether(faces) {
    const { size, channels } = this.metadata.preprocessing;
    const images = new this.ort.Tensor("float32", this.#input(faces), [faces.length, channels, size, size]);
    const outputs = await this.session.run({ images });
    const count = this.metadata.classes.length;
    return faces.map((_, i) => ({
      expression: this.#expression(outputs.logits.data.subarray(i * count, (i + 1) * count)),
      masks: this.masks.map((/** @type {string} */ name) => maskOf(outputs[name], i)),
    }));
  }

  /** @param {Pixels[]} faces */
  #input(faces) {
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
  #expression(logits) {
    const { classes, calibration } = this.metadata;
    const inverse = inverseTemperature(softmax(logits), calibration);
    const shares = softmax(logits.map((logit) => logit * inverse));
    const first = shares.indexOf(Math.max(...shares));
    const confidence = shares[first];
    return {
      expression: classes[first],
      confidence,
      uncertain: confidence < calibration.uncertain_below,
      probabilities: Object.fromEntries(classes.map((name, i) => [name, shares[i]])),
    };
  }
}

/**
 * @param {Float32Array} logits
 * @returns {number[]} Their shares, which sum to 1.
 */
function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - highest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/**
 * What a face's logits are multiplied by, as mien/calibration.py has it: it depends on the entropy of what they say.
 *
 * @param {number[]} shares
 * @param {import("./metadata.js").Metadata["calibration"]} calibration
 * @returns {number}
 */
function inverseTemperature(shares, { temperature, temperature_unsure }) {
  const entropy = -shares.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0);
  const unsure = Math.min(1, Math.max(0, entropy / Math.log(Math.max(2, shares.length))));
  return (1 - unsure) / temperature + unsure / temperature_unsure;
}

/**
 * @param {{data: Float32Array, dims: number[]}} output (N, h, w)
 * @param {number} i Of which face.
 * @returns {Mask}
 */
function maskOf({ data, dims: [, height, width] }, i) {
  return { width, height, values: data.slice(i * width * height, (i + 1) * width * height) };
}
