/** Play, pause and the position in a video. */

export class Transport {
  /**
   * @param {HTMLElement} element With a button, a slider and a clock in it.
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
    // A recording may not say how long it is; then it is as long as it was seen.
    const end_s = () => (Number.isFinite(video.duration) ? video.duration : Math.max(Number(slider.max), video.currentTime));
    video.onemptied = () => (slider.max = "1");
    video.ondurationchange = () => (slider.max = String(end_s()));
    video.ontimeupdate = () => {
      slider.max = String(end_s());
      slider.value = String(video.currentTime);
      slider.setAttribute("aria-valuetext", clockOf(video.currentTime));
      clock.textContent = `${clockOf(video.currentTime)} / ${clockOf(video.duration)}`;
    };
  }

  /** @param {boolean} shown */
  show(shown) {
    this.element.hidden = !shown;
  }
}

/** @param {number} time_s */
function clockOf(time_s) {
  if (!Number.isFinite(time_s)) return "–"; // a stream that does not say how long it is
  return `${Math.floor(time_s / 60)}:${String(Math.floor(time_s % 60)).padStart(2, "0")}`;
}
