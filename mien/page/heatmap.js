/** A mask as a heatmap, to draw over a face. */

/** @typedef {import("./types.js").Mask} Mask */

const COLOURS = [ // five points of matplotlib's inferno, the colour map of `mien evaluate`
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/**
 * Draws a mask in colours from its minimum to its maximum; higher values are more opaque.
 *
 * @param {Mask} mask
 * @returns {OffscreenCanvas} The size of the mask. It is smoothed when it is drawn at a larger size.
 */
export function drawHeatmap({ width, height, values }) {
  const min = Math.min(...values);
  const range = Math.max(...values) - min;
  const image = new ImageData(width, height);
  values.forEach((value, i) => {
    const heat = range > 0 ? (value - min) / range : 0.5;
    image.data.set([...colourAt(heat), Math.round(255 * (0.25 + 0.45 * heat))], i * 4);
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

/** @param {number} heat In [0, 1]. */
function colourAt(heat) {
  const position = heat * (COLOURS.length - 1);
  const below = Math.min(Math.floor(position), COLOURS.length - 2);
  return COLOURS[below].map((value, i) => Math.round(value + (position - below) * (COLOURS[below + 1][i] - value)));
}
