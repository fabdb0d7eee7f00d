/**
 * Reads the texts that an ONNX file carries, which onnxruntime-web does not give out. A file is a protobuf message;
 * of it only ModelProto.metadata_props (field 14), pairs of a key (1) and a value (2), are looked at.
 */

import { Problem } from "./problem.js";

const METADATA_PROPS = 14;
const FORMAT = 1; // the newest that is known here, as in mien/models/onnx_model.py

/**
 * @typedef {object} Metadata What `mien export` stored in a model file, as far as the page uses it.
 * @property {string[]} classes
 * @property {{size: number, channels: number, mean: number, std: number}} preprocessing
 * @property {{temperature: number, temperature_unsure: number, uncertain_below: number}} calibration
 */

/**
 * What `mien export` stored in a file.
 *
 * @param {Uint8Array} file
 * @param {string} name For the sentence where it cannot be used.
 * @returns {Metadata}
 */
export function readMetadata(file, name) {
  let stored;
  try {
    stored = JSON.parse(properties(file).get("mien") ?? "null");
  } catch {
    throw new Problem(`The model ${name} is damaged; get it again.`);
  }
  if (!stored) throw new Problem(`The model ${name} was not written by mien export; use a file that was.`);
  if (stored.format > FORMAT) throw new Problem(`The model ${name} is newer than this page; update mien.`);
  const { size, channels, mean, std } = stored.preprocessing ?? {};
  const numbers = [size, channels, mean, std].every(Number.isFinite);
  if (!numbers || !Array.isArray(stored.classes)) {
    throw new Problem(`The model ${name} does not say how faces are prepared for it; export it again.`);
  }
  return { ...stored, calibration: stored.calibration ?? { temperature: 1, temperature_unsure: 1, uncertain_below: 0 } };
}

/**
 * @param {Uint8Array} file
 * @returns {Map<string, string>}
 */
function properties(file) {
  const text = new TextDecoder("utf-8", { fatal: true });
  const found = new Map();
  for (const [field, content] of messages(file)) {
    if (field !== METADATA_PROPS) continue;
    const pair = new Map([...messages(content)].map(([number, bytes]) => [number, text.decode(bytes)]));
    found.set(pair.get(1), pair.get(2) ?? "");
  }
  return found;
}

/**
 * The fields of a message that have a length: their numbers and bytes.
 *
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, Uint8Array]>}
 */
function* messages(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new RangeError("the file ends within a number");
      const byte = bytes[at++];
      value += (byte & 127) * scale; // not shifted: numbers may have more than 32 bits
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new RangeError("the file ends within a field");
      yield [tag >>> 3, bytes.subarray(at, at + length)];
      at += length;
    } else throw new RangeError(`no field is of kind ${kind}`);
  }
}
