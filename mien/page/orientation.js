/** Turns a WebP upright by its EXIF orientation. Chromium does this for every other format, but not for WebP. */

/**
 * EXIF orientation -> the transformation (a, b, c, d) of a canvas. Orientation 1 is upright.
 *
 * @type {Record<number, number[]>}
 */
const TRANSFORMS = {
  2: [-1, 0, 0, 1],
  3: [-1, 0, 0, -1],
  4: [1, 0, 0, -1],
  5: [0, 1, 1, 0],
  6: [0, 1, -1, 0],
  7: [0, -1, -1, 0],
  8: [0, -1, 1, 0],
};
const ORIENTATION_TAG = 0x0112;

/** A WebP of 2 x 1 pixels whose orientation makes it 1 x 2 pixels. */
const ROTATED_WEBP =
  "UklGRkwAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TAsAAAAvAQAAAMX8R/Q/BABF" +
  "WElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA";

/**
 * Returns a picture upright, whether or not the browser has turned it already.
 *
 * @param {ImageBitmap} bitmap The picture as decoded by the browser; closed if another bitmap is returned.
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>}
 */
export async function upright(bitmap, file) {
  const transform = TRANSFORMS[await readWebpOrientation(file)];
  if (!transform || (await browserTurnsWebp())) return bitmap;
  const [a, b, c, d] = transform;
  const { width, height } = bitmap;
  const canvas = a ? new OffscreenCanvas(width, height) : new OffscreenCanvas(height, width);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingEnabled = false;
  context.setTransform(a, b, c, d, a + c < 0 ? canvas.width : 0, b + d < 0 ? canvas.height : 0);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

async function browserTurnsWebp() {
  const bytes = Uint8Array.from(atob(ROTATED_WEBP), (letter) => letter.charCodeAt(0));
  const { width } = await createImageBitmap(new Blob([bytes]), { imageOrientation: "from-image" });
  return width === 1;
}

/**
 * @param {Blob} file
 * @returns {Promise<number>} 1 if the file is not a WebP or has no orientation.
 */
async function readWebpOrientation(file) {
  const head = await file.slice(0, 12).text();
  if (!head.startsWith("RIFF") || !head.endsWith("WEBP")) return 1;
  const view = new DataView(await file.arrayBuffer());
  try {
    let at = 12;
    while (view.getUint32(at) !== 0x45584946) at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2); // "EXIF"
    at += 8;
    if (view.getUint32(at) === 0x45786966) at += 6; // some writers put "Exif" and two zeros before the TIFF header
    const littleEndian = view.getUint16(at) === 0x4949;
    let entry = at + view.getUint32(at + 4, littleEndian) + 2;
    const end = entry + 12 * view.getUint16(entry - 2, littleEndian);
    while (entry < end && view.getUint16(entry, littleEndian) !== ORIENTATION_TAG) entry += 12;
    return entry < end ? view.getUint16(entry + 8, littleEndian) : 1;
  } catch {
    return 1; // the metadata is truncated, but the picture may still be readable
  }
}
