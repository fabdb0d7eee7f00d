/**
 * Reads the metadata of an ONNX file, which onnxruntime-web does not expose. A file is a protobuf message; only
 * ModelProto.metadata_props (field 14) is read, which holds pairs of a key (field 1) and a value (field 2).
 */

import { PageError } from "./errors.js";

const METADATA_PROPS = 14;
const FORMAT = 1; // the newest known format, as in mien/models/onnx_model.py
const UNCALIBRATED = { temperature: 1, temperature_unsure: 1, uncertain_below: 0 };

/**
 * @typedef {object} Metadata The part of a model's metadata that the page uses.
 * @property {string[]} classes
 * @property {{size: number, channels: number, mean: number, std: number}} preprocessing
 * @property {{temperature: number, temperature_unsure: number, uncertain_below: number}} calibration
 */

/**
 * Reads the metadata that `mien export` stored in a model file.
 *
 * @param {Uint8Array} file
 * @param {string} name The name of the model in errors.
 * @returns {Metadata}
 */
export function readMetadata(file, name) {
  let metadata;
  try {
    metadata = JSON.parse(readProperties(file).get("mien") ?? "null");
  } catch {
    throw new PageError(`The model ${name} is damaged; get it again.`);
  }
  if (!metadata) throw new PageError(`The model ${name} was not written by mien export; use a model that was.`);
  if (metadata.format > FORMAT) throw new PageError(`The model ${name} is newer than this page; update mien.`);
  const { size, channels, mean, std } = metadata.preprocessing ?? {};
  const isComplete = [size, channels, mean, std].every(Number.isFinite) && Array.isArray(metadata.classes);
  if (!isComplete) throw new PageError(`The model ${name} has no classes or no preprocessing; export it again.`);
  return { ...metadata, calibration: metadata.calibration ?? UNCALIBRATED };
}

/**
 * @param {Uint8Array} file
 * @returns {Map<string, string>}
 */
function readProperties(file) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const properties = new Map();
  for (const [field, content] of readFields(file)) {
    if (field !== METADATA_PROPS) continue;
    const pair = new Map([...readFields(content)].map(([number, bytes]) => [number, decoder.decode(bytes)]));
    properties.set(pair.get(1), pair.get(2) ?? "");
  }
  return properties;
}

/**
 * Yields the number and the bytes of each length-delimited field of a message.
 *
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, Uint8Array]>}
 */
function* readFields(bytes) {
  let at = 0;
  const readVarint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new RangeError("the file ends within a number");
      const byte = bytes[at++];
      value += (byte & 127) * scale; // a shift would be limited to 32 bits
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = readVarint();
    const wireType = tag & 7;
    if (wireType === 0) readVarint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = readVarint();
      if (at + length > bytes.length) throw new RangeError("the file ends within a field");
      yield [tag >>> 3, bytes.subarray(at, at + length)];
      at += length;
    } else throw new RangeError(`unknown wire type ${wireType}`);
  }
}
