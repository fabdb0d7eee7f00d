/**
 * Types that several modules share; compare `mien/types.py` and `mien/detection/base.py`.
 *
 * @typedef {[number, number, number, number]} Box x0, y0, x1, y1 in pixels of the upright image.
 *
 * @typedef {object} Pixels An image as 8-bit values.
 * @property {number} width
 * @property {number} height
 * @property {1 | 3} channels 1 for gray, 3 for RGB.
 * @property {Uint8Array} data Values 0..255, row by row.
 *
 * @typedef {object} Mask The mask of one stage over the square of a face: the mean over its channels.
 * @property {number} width
 * @property {number} height
 * @property {Float32Array} values In [0, 1], row by row.
 *
 * @typedef {object} Face One face, as `mien.recognition.records` writes it; only the browser's engine gives `masks`.
 * @property {Box} box
 * @property {number} score
 * @property {string} expression
 * @property {number} confidence
 * @property {boolean} uncertain
 * @property {Record<string, number>} probabilities
 * @property {Record<string, [number, number]>} landmarks
 * @property {Mask[]} [masks]
 *
 * @typedef {object} Answer The result of an engine for a picture or a frame.
 * @property {number} width Of the upright image, in pixels.
 * @property {number} height Likewise.
 * @property {Face[]} faces From left to right.
 * @property {number} faces_ms Time to classify the faces; for the service, the time of the whole round trip.
 *
 * @typedef {object} ModelFile
 * @property {string} file Its path on the host.
 * @property {string} [sha256] Of the file, in hexadecimal digits.
 * @property {number} [bytes] Its size.
 *
 * @typedef {object} Model An entry of /v1/models or of models.json.
 * @property {string} name
 * @property {string} network
 * @property {string[]} classes
 * @property {Record<string, string>} colours Class -> #rrggbb.
 * @property {{uncertain_below: number}} calibration
 * @property {string} file
 * @property {string} [sha256]
 * @property {number} [bytes]
 *
 * @typedef {object} Engine Recognises faces, in the browser or on the service.
 * @property {(picture: Blob, name: string) => Promise<Answer>} recognisePicture
 * @property {(frame: ImageBitmap, first: boolean) => Promise<Answer & {frame: ImageBitmap}>} recogniseFrame Takes
 *   ownership of the frame and returns it. `first` searches the whole frame, without the faces of the previous one.
 * @property {number} maskCount Number of masks per face.
 * @property {() => void} close
 */

export {};
