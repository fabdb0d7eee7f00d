/** The tilt of a face and the turn that makes it upright: the counterpart of `mien/detection/tilt.py`. */

const LEVEL_DEG = 15;
const TURNED_DEG = 25;

/**
 * Returns the tilt of a face in degrees clockwise, or 0 without landmarks.
 *
 * @param {Record<string, ArrayLike<number>>} landmarks
 */
export function tiltDeg({ right_eye: right, left_eye: left, mouth_right: mouthRight, mouth_left: mouthLeft }) {
  if (!right || !left) return 0;
  let acrossX = left[0] - right[0];
  let acrossY = left[1] - right[1];
  if (mouthRight && mouthLeft) {
    const downX = (mouthRight[0] + mouthLeft[0]) / 2 - (left[0] + right[0]) / 2;
    const downY = (mouthRight[1] + mouthLeft[1]) / 2 - (left[1] + right[1]) / 2;
    [acrossX, acrossY] = [acrossX + downY, acrossY - downX];
  }
  return (Math.atan2(acrossY, acrossX) * 180) / Math.PI;
}

/**
 * Returns by how many degrees counterclockwise a face is turned before it is classified.
 *
 * @param {Record<string, ArrayLike<number>>} landmarks
 */
export function turnDeg(landmarks) {
  const tilt = tiltDeg(landmarks);
  const quarter = 90 * Math.round(tilt / 90);
  const rest = tilt - quarter;
  const part = Math.min(1, Math.max(0, (Math.abs(rest) - LEVEL_DEG) / (TURNED_DEG - LEVEL_DEG)));
  return quarter + rest * part;
}

/**
 * Returns an angle as -180 to 180 degrees.
 *
 * @param {number} degrees
 */
export function wrapped(degrees) {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}

/**
 * Returns whether a tilt is so small that the face is left as it is.
 *
 * @param {number} degrees
 */
export function isLevel(degrees) {
  return Math.abs(wrapped(degrees)) < LEVEL_DEG;
}
