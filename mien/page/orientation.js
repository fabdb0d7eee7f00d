/** Turns a WebP upright as its EXIF says: Chromium does that for every other kind of picture, but not for this one. */

/**
 * What a canvas is transformed by (a, b, c, d) for each orientation but the first, which is upright.
 *
 * @type {Record<number, number[]>}
 */
const TURNS = {
  2: [-1, 0, 0, 1],
  3: [-1, 0, 0, -1],
  4: [1, 0, 0, -1],
  5: [0, 1, 1, 0],
  6: [0, 1, -1, 0],
  7: [0, -1, -1, 0],
  8: [0, -1, 1, 0],
};
const ORIENTATION = 0x0112;

/** A WebP of two pixels side by side, which is to be turned so that one is above the other. */
const LYING =
  "UklGRkwAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TAsAAAAvAQAAAMX8R/Q/BABF" +
  "WElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA";

/**
 * A picture upright, whether the browser has turned it or not.
 *
 * @param {ImageBitmap} bitmap As the browser has decoded it; closed where another one is returned.
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>}
 */
export async function upright(bitmap, file) {
  const turn = TURNS[await webpOrientation(file)];
  if (!turn || (await browserTurns())) return bitmap;
  const [a, b, c, d] = turn;
  const { width, height } = bitmap;
  const canvas = a ? new OffscreenCanvas(width, height) : new OffscreenCanvas(height, width);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingEnabled = false;
  context.setTransform(a, b, c, d, a + c < 0 ? canvas.width : 0, b + d < 0 ? canvas.height : 0);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

async function browserTurns() {
  const bytes = Uint8Array.from(atob(LYING), (letter) => letter.charCodeAt(0));
  const { width } = await createImageBitmap(new Blob([bytes]), { imageOrientation: "from-image" });
  return width === 1;
}

/**
 * @param {Blob} file
 * @returns {Promise<number>} 1 where it is no WebP or does not say.
 */
async function webpOrientation(file) {
  const head = await file.slice(0, 12).text();
  if (!head.startsWith("RIFF") || !head.endsWith("WEBP")) return 1;
  const view = new DataView(await file.arrayBuffer());
  try {
    let at = 12;
    while (view.getUint32(at) !== 0x45584946) at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2); // "EXIF"
    at += 8;
    if (view.getUint32(at) === 0x45786966) at += 6; // "Exif" and two zeros, which some write before the TIFF
    const little = view.getUint16(at) === 0x4949;
    let entry = at + view.getUint32(at + 4, little) + 2;
    const end = entry + 12 * view.getUint16(entry - 2, little);
    while (entry < end && view.getUint16(entry, little) !== ORIENTATION) entry += 12;
    return entry < end ? view.getUint16(entry + 8, little) : 1;
  } catch {
    return 1; // it ends before it says: the picture may be whole all the same
  }
}
