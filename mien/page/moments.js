/**
 * Images of each face in a video for its report: the first one, and those at which it was most expressive. The
 * counterpart of `mien/video/timeline.py`, which explains each constant.
 */

import { turnDeg } from "./tilt.js";

/** @typedef {import("./tracks.js").TrackedFace} TrackedFace */
/** @typedef {{time_s: number, name: string, confidence: number, image: Promise<string>}} Moment */

const MAX_MOMENTS = 6;
const MIN_MOMENT_DISTANCE_S = 2;
const THUMBNAIL_PX = 128;
const UNEXPRESSIVE = "neutral";
const MAX_TRACKS = 200; // then only the faces so far have images

export class Moments {
  /** Track number -> the face's first image as a data: URL, and its moments. */
  /** @type {Map<number, {portrait: Promise<string>, moments: Moment[]}>} */
  #tracks = new Map();

  /**
   * Adds the faces of the next frame.
   *
   * @param {ImageBitmap} frame
   * @param {TrackedFace[]} faces
   * @param {number} time_s
   */
  add(frame, faces, time_s) {
    for (const face of faces) {
      let track = this.#tracks.get(face.id);
      if (!track) {
        if (this.#tracks.size === MAX_TRACKS) continue;
        track = { portrait: thumbnail(frame, face), moments: [] };
        this.#tracks.set(face.id, track);
      }
      if (face.uncertain || face.expression === UNEXPRESSIVE) continue;
      track.moments = offer(track.moments, time_s, face.expression, face.confidence, () => thumbnail(frame, face));
    }
  }

  /**
   * Returns the images of a face.
   *
   * @param {number} id
   */
  async imagesOf(id) {
    const track = this.#tracks.get(id);
    if (!track) return { portrait: "", moments: [] };
    const moments = await Promise.all(track.moments.map(async (each) => ({ ...each, image: await each.image })));
    return { portrait: await track.portrait, moments };
  }
}

/**
 * Returns the moments with a new one, if it is among the most confident and not close to a better one of its class.
 *
 * @param {Moment[]} moments
 * @param {number} time_s
 * @param {string} name
 * @param {number} confidence
 * @param {() => Promise<string>} makeImage
 */
export function offer(moments, time_s, name, confidence, makeImage) {
  const ofClass = moments.filter((each) => each.name === name);
  let rivals = ofClass.filter((each) => Math.abs(each.time_s - time_s) < MIN_MOMENT_DISTANCE_S);
  let toBeat = Math.max(0, ...rivals.map((each) => each.confidence));
  if (!rivals.length && moments.length === MAX_MOMENTS) {
    const repeated = moments.filter((each) => moments.filter(({ name }) => name === each.name).length > 1);
    const replaceable = [repeated, ofClass, moments].find((each) => each.length) ?? [];
    rivals = [replaceable.reduce((a, b) => (b.confidence < a.confidence ? b : a))];
    toBeat = repeated.length && !ofClass.length ? 0 : rivals[0].confidence;
  }
  if (confidence <= toBeat) return moments;
  const kept = moments.filter((each) => !rivals.includes(each));
  return [...kept, { time_s, name, confidence, image: makeImage() }].sort((a, b) => a.time_s - b.time_s);
}

/**
 * Returns an image of a face, upright, as a data: URL.
 *
 * @param {ImageBitmap} frame
 * @param {TrackedFace} face
 * @returns {Promise<string>}
 */
async function thumbnail(frame, { box: [x0, y0, x1, y1], landmarks }) {
  const canvas = new OffscreenCanvas(THUMBNAIL_PX, THUMBNAIL_PX);
  const scale = THUMBNAIL_PX / (x1 - x0);
  const context = canvas.getContext("2d");
  context?.translate(THUMBNAIL_PX / 2, THUMBNAIL_PX / 2);
  context?.rotate((-turnDeg(landmarks) * Math.PI) / 180);
  context?.scale(scale, scale);
  context?.drawImage(frame, -(x0 + x1) / 2, -(y0 + y1) / 2);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.readAsDataURL(blob);
  });
}
