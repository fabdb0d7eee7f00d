/**
 * The words that the modules of the page share; see `mien/types.py` and `mien/detection/base.py`.
 *
 * @typedef {[number, number, number, number]} Box x0, y0, x1, y1 in pixels of the upright picture.
 *
 * @typedef {object} Pixels
 * @property {number} width
 * @property {number} height
 * @property {1 | 3} channels Gray, or red, green, blue.
 * @property {Uint8Array} data Row by row, values 0..255.
 *
 * @typedef {object} Mask One stage's mask over the square of a face: the mean over its channels.
 * @property {number} width
 * @property {number} height
 * @property {Float32Array} values Row by row, in [0, 1].
 *
 * @typedef {object} Face One face, as `mien.recognition.records` writes it; `masks` only from the browser's engine.
 * @property {Box} box
 * @property {number} score
 * @property {string} expression
 * @property {number} confidence
 * @property {boolean} uncertain
 * @property {Record<string, number>} probabilities
 * @property {Record<string, [number, number]>} landmarks
 * @property {Mask[]} [masks]
 *
 * @typedef {object} Answer What an engine says of a picture or a frame.
 * @property {number} width Pixels of the upright picture.
 * @property {number} height
 * @property {Face[]} faces From left to right.
 * @property {number} faces_ms What classifying them took; with the service, the whole way there and back.
 *
 * @typedef {object} Model One of the models that /v1/models or models.json lists.
 * @property {string} name
 * @property {string} network
 * @property {string[]} classes
 * @property {Record<string, string>} colours
 * @property {{uncertain_below: number}} calibration
 * @property {string} file
 *
 * @typedef {object} Engine Where faces are recognised.
 * @property {(picture: Blob, name: string) => Promise<Answer>} picture
 * @property {(frame: ImageBitmap, first: boolean) => Promise<Answer & {frame: ImageBitmap}>} frame Takes the frame and
 *   gives it back; `first` looks at all of it, without what was found in the frame before.
 * @property {number} masks How many masks it gives of each face.
 * @property {() => void} close
 */

export {};
