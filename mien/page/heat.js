/** A mask as heat, to be laid over a face. */

/** @typedef {import("./types.js").Mask} Mask */

const COLOURS = [ // matplotlib's inferno, the colours of `mien evaluate`'s sheets, at five places
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/**
 * @param {Mask} mask Its least value becomes the coldest colour, its largest the hottest; the hotter, the more opaque.
 * @returns {OffscreenCanvas} As small as the mask; the canvas it is drawn to smooths it.
 */
export function heatOf({ width, height, values }) {
  const low = Math.min(...values);
  const span = Math.max(...values) - low;
  const picture = new ImageData(width, height);
  values.forEach((value, i) => {
    const heat = span > 0 ? (value - low) / span : 0.5;
    picture.data.set([...colourAt(heat), Math.round(255 * (0.25 + 0.45 * heat))], i * 4);
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
  return canvas;
}

/** @param {number} heat In [0, 1]. */
function colourAt(heat) {
  const place = heat * (COLOURS.length - 1);
  const before = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[before].map((value, i) => Math.round(value + (place - before) * (COLOURS[before + 1][i] - value)));
}
