/** Writes the report of a video as one HTML page: the counterpart of `mien/video/report.py` and `timeline.py`. */

/** @typedef {ReturnType<typeof import("./records.js").frameRecord>} FrameRecord */

const MAX_TRACKS = 12;
const MAX_GAP_S = 0.5;
const FALLBACK_STEP_S = 1 / 25;
const PLOT = { width: 960, height: 110, bottom: 18 };

/**
 * @typedef {object} Track One face throughout a video.
 * @property {number} number
 * @property {number[]} times_s
 * @property {number[]} ends_s
 * @property {Record<string, number>[]} probabilities
 * @property {string[]} predicted
 * @property {boolean[]} uncertain
 */

/**
 * Returns the report as HTML.
 *
 * @param {FrameRecord[]} records
 * @param {import("./moments.js").Moments} moments
 * @param {{title: string, colours: Record<string, string>}} options
 */
export async function reportOf(records, moments, { title, colours }) {
  const template = await (await fetch(new URL("report.html", import.meta.url))).text();
  const tracks = tracksOf(records);
  const ends_s = [...records.map(({ time_s }) => time_s), ...tracks.flatMap(({ ends_s }) => ends_s)];
  const end_s = ends_s.reduce((a, b) => Math.max(a, b), 0);
  const longest = [...tracks].sort((a, b) => sum(durationsOf(b)) - sum(durationsOf(a)));
  const shown = longest.slice(0, MAX_TRACKS).sort((a, b) => a.number - b.number);
  const sections = [];
  for (const track of shown) sections.push(section(track, await moments.imagesOf(track.number), colours, end_s));
  const others = longest.slice(MAX_TRACKS).map(({ number }) => number).sort((a, b) => a - b);
  if (others.length) {
    const faces = `${others.length} more face${others.length > 1 ? "s" : ""}`;
    sections.push(`<p class=quiet>${faces}, in sight for a shorter time: ${others.join(", ")}.</p>`);
  }
  const legend = Object.entries(colours).map(
    ([name, colour]) => `<span><i style="background:${colour}"></i>${escaped(name)}</span>`,
  );
  const values = {
    generator: "written by mien, which recognises facial expressions", // MARK in mien/files.py
    title: escaped(title),
    facts: `${formatTime(end_s)} · ${records.length.toLocaleString("en")} frames · ${counted(tracks.length, "face")}`,
    legend: legend.join(""),
    faces: sections.join("") || "<p>No face.</p>",
  };
  return template.replace(/\$(\w+)/g, (_, name) => values[/** @type {keyof typeof values} */ (name)]);
}

/**
 * Collects the tracks of a video.
 *
 * @param {FrameRecord[]} records
 * @returns {Track[]}
 */
export function tracksOf(records) {
  /** @type {Map<number, Track>} */
  const tracks = new Map();
  records.forEach(({ time_s, faces }, i) => {
    for (const face of faces) {
      const track = tracks.get(face.track) ?? newTrack(face.track);
      tracks.set(face.track, track);
      const next_s = records[i + 1]?.time_s ?? NaN;
      track.times_s.push(time_s);
      track.ends_s.push(next_s > time_s ? next_s : NaN); // the last frame, or the last one before a jump
      track.probabilities.push(face.probabilities);
      track.predicted.push(face.expression);
      track.uncertain.push(face.uncertain);
    }
  });
  for (const track of tracks.values()) {
    track.ends_s = track.ends_s.map((end_s, i) => (Number.isNaN(end_s) ? track.times_s[i] + stepOf(track) : end_s));
  }
  return [...tracks.values()].sort((a, b) => a.number - b.number);
}

/**
 * @param {number} number
 * @returns {Track}
 */
function newTrack(number) {
  return { number, times_s: [], ends_s: [], probabilities: [], predicted: [], uncertain: [] };
}

/** @param {Track} track */
function stepOf({ times_s }) {
  const steps_s = times_s.slice(1).map((time_s, i) => time_s - times_s[i]).sort((a, b) => a - b);
  return steps_s.length ? steps_s[steps_s.length >> 1] : FALLBACK_STEP_S;
}

/** @param {Track} track */
const maxGapOf = (track) => Math.max(MAX_GAP_S, 2.5 * stepOf(track));

/**
 * Returns how long each frame counts: until the next one with this face, or to its own end before an absence.
 *
 * @param {Track} track
 */
export function durationsOf(track) {
  const { times_s, ends_s } = track;
  const max_gap_s = maxGapOf(track);
  return times_s.map((time_s, i) => {
    const next_s = times_s[i + 1] ?? ends_s[i];
    return (next_s - ends_s[i] > max_gap_s ? ends_s[i] : next_s) - time_s;
  });
}

/**
 * @param {Track} track
 * @param {Awaited<ReturnType<import("./moments.js").Moments["imagesOf"]>>} images
 * @param {Record<string, string>} colours
 * @param {number} end_s
 */
function section(track, { portrait, moments }, colours, end_s) {
  const durations_s = durationsOf(track);
  const total_s = sum(durations_s);
  /** @type {(isIn: (i: number) => boolean) => number} */
  const fraction = (isIn) => sum(durations_s.filter((_, i) => isIn(i))) / total_s;
  const names = Object.keys(colours);
  const percentages = wholePercentages(names.map((name) => fraction((i) => track.predicted[i] === name)));
  const shown = names
    .map((name, i) => ({ name: escaped(name), colour: colours[name], percentage: percentages[i] }))
    .filter(({ percentage }) => percentage)
    .sort((a, b) => b.percentage - a.percentage);
  const bar = shown.map(
    ({ name, colour, percentage }) =>
      `<b style="width:${percentage}%;background:${colour}" title="${name} ${percentage}%"></b>`,
  );
  const [first_s, last_s] = [track.times_s[0], track.ends_s[track.ends_s.length - 1]];
  const uncertain = Math.round(100 * fraction((i) => track.uncertain[i]));
  const figures = moments.map(
    ({ time_s, name, confidence, image }) =>
      `<figure><img src="${image}" alt="face ${track.number} at ${formatTime(time_s)}"><figcaption>` +
      `${formatTime(time_s)}<br>${escaped(name)} ${Math.round(100 * confidence)}%</figcaption></figure>`,
  );
  return (
    `<section><header><img src="${portrait}" alt=""><div><h2>Face ${track.number}</h2>` +
    `<p>${formatTime(first_s)} to ${formatTime(last_s)}, in sight for ${total_s.toFixed(1)} s, ` +
    `uncertain for ${uncertain}% of it</p></div></header><div class=bar>${bar.join("")}</div>` +
    `<p class=quiet>${shown.map(({ name, percentage }) => `${name} ${percentage}%`).join(", ")}</p>` +
    `<div class=timeline role=img aria-label="probabilities over time">${plot(track, colours, end_s)}</div>` +
    (figures.length ? `<div class=moments>${figures.join("")}</div>` : "") +
    "</section>"
  );
}

/**
 * Draws the probabilities of a face, stacked, over time.
 *
 * @param {Track} track
 * @param {Record<string, string>} colours
 * @param {number} end_s
 */
function plot(track, colours, end_s) {
  const { width, height, bottom } = PLOT;
  const x = (/** @type {number} */ time_s) => ((width * time_s) / Math.max(end_s, 1e-3)).toFixed(1);
  const y = (/** @type {number} */ probability) => ((height - bottom) * (1 - probability)).toFixed(1);
  const areas = spansOf(track).flatMap(([start, end]) => {
    const rows = Array.from({ length: end - start }, (_, i) => start + i);
    const last = rows[rows.length - 1];
    const points = [...rows.map((i) => ({ i, time_s: track.times_s[i] })), { i: last, time_s: track.ends_s[last] }];
    const below = points.map(() => 0);
    const stack = Object.entries(colours).map(([name, colour]) => {
      const lower = points.map(({ time_s }, j) => `${x(time_s)},${y(below[j])}`);
      points.forEach(({ i }, j) => (below[j] += track.probabilities[i][name] ?? 0));
      const upper = points.map(({ time_s }, j) => `${x(time_s)},${y(below[j])}`).reverse();
      return `<polygon fill="${colour}" points="${[...lower, ...upper].join(" ")}"/>`;
    });
    const hatched = rows.filter((i) => track.uncertain[i]).map((i) => {
      const to_s = track.times_s[i + 1] && i + 1 < end ? track.times_s[i + 1] : track.ends_s[i];
      const left = Number(x(track.times_s[i]));
      return `<rect fill="url(#hatch)" x="${left}" y="0" width="${(Number(x(to_s)) - left).toFixed(1)}" height="${y(0)}"/>`;
    });
    return [...stack, ...hatched];
  });
  const ticks = Array.from({ length: 6 }, (_, i) => (i * end_s) / 5).map((time_s, i) => {
    const anchor = i === 0 ? "start" : i === 5 ? "end" : "middle";
    return `<text x="${x(time_s)}" y="${height - 4}" text-anchor="${anchor}">${formatTime(time_s)}</text>`;
  });
  return (
    `<svg viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="11"><defs>` +
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">' +
    '<path d="M0 0V6" stroke="#fff" stroke-width="2" opacity="0.65"/></pattern></defs>' +
    `${areas.join("")}<g fill="#666">${ticks.join("")}</g></svg>`
  );
}

/**
 * Returns the first and the end index of each time without an absence.
 *
 * @param {Track} track
 */
function spansOf(track) {
  const { times_s, ends_s } = track;
  const starts = times_s.flatMap((time_s, i) => (i === 0 || time_s - ends_s[i - 1] > maxGapOf(track) ? [i] : []));
  return starts.map((start, i) => [start, starts[i + 1] ?? times_s.length]);
}

/**
 * Rounds fractions that sum to 1 to whole percentages that sum to 100, by the largest remainders.
 *
 * @param {number[]} fractions
 */
export function wholePercentages(fractions) {
  const exact = fractions.map((fraction) => 100 * fraction);
  const whole = exact.map((value) => Math.floor(value + 1e-9));
  const byRemainder = exact.map((_, i) => i).sort((a, b) => exact[b] - whole[b] - (exact[a] - whole[a]));
  for (const i of byRemainder.slice(0, Math.round(100 - sum(whole)))) whole[i]++;
  return whole;
}

/**
 * Formats a time as 1:02.5 or 1:01:02.5.
 *
 * @param {number} time_s
 */
export function formatTime(time_s) {
  const tenths = Math.round(time_s * 10);
  const [hours, minutes, seconds] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const text = seconds.toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${text}` : `${minutes}:${text}`;
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/**
 * @param {number} count
 * @param {string} noun
 */
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
