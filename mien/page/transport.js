/** The controls of a video: play, pause and position. */

export class Transport {
  /**
   * @param {HTMLElement} element Contains a button, a slider and a clock.
   * @param {HTMLVideoElement} video
   */
  constructor(element, video) {
    this.element = element;
    const [button, slider, clock] = /** @type {[HTMLButtonElement, HTMLInputElement, HTMLElement]} */ (
      /** @type {unknown} */ (element.children)
    );
    button.onclick = () => (video.paused ? video.play() : video.pause());
    slider.oninput = () => (video.currentTime = Number(slider.value));
    video.onplay = video.onpause = () => (button.textContent = video.paused ? "Play" : "Pause");
    // Some recordings do not state their duration; the largest position so far replaces it.
    const duration_s = () =>
      Number.isFinite(video.duration) ? video.duration : Math.max(Number(slider.max), video.currentTime);
    video.onemptied = () => (slider.max = "1");
    video.ondurationchange = () => (slider.max = String(duration_s()));
    video.ontimeupdate = () => {
      slider.max = String(duration_s());
      slider.value = String(video.currentTime);
      slider.setAttribute("aria-valuetext", formatTime(video.currentTime));
      clock.textContent = `${formatTime(video.currentTime)} / ${formatTime(video.duration)}`;
    };
  }

  /** @param {boolean} visible */
  setVisible(visible) {
    this.element.hidden = !visible;
  }
}

/** @param {number} time_s */
function formatTime(time_s) {
  if (!Number.isFinite(time_s)) return "–"; // an unknown duration
  return `${Math.floor(time_s / 60)}:${String(Math.floor(time_s % 60)).padStart(2, "0")}`;
}
