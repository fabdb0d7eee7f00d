/** The page: what each control does. */

import { Album } from "./album.js";
import { Engines } from "./engines.js";
import { Home } from "./home.js";
import { Live } from "./live.js";
import { Problem, sentenceOf } from "./problem.js";
import { Speed } from "./speed.js";
import { followTheme } from "./theme.js";
import { Transport } from "./transport.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./engines.js").Kind} Kind */
/** @typedef {"nothing" | "camera" | "video" | "pictures"} Way */

/** @type {(id: string) => any} */
const find = (id) => document.getElementById(id);

// Never sent to a server, unlike a query. A plus in it is a plus: tokens have them.
const settings = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
const models = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=mien-models]"));
const home = new Home(models.content, settings.get("token"));
const engines = new Engines(home);
const viewer = new Viewer(find);
const speed = new Speed(find("speed"));
const album = new Album(find("strip"), viewer, engines, report, finished);
const live = new Live(find("source"), viewer, engines, report, finished);
const transport = new Transport(find("transport"), find("source"));
/** What is looked at. @type {Way} */
let way = "nothing";
let cameraOn = false;

/** The engine that the person chose. */
const kind = () => /** @type {Kind} */ (document.querySelector("#engines input:checked")?.getAttribute("value"));
/** The model that the person chose. */
const model = () => {
  const name = find("models").querySelector("select").value;
  return home.models.find((each) => each.name === name) ?? home.own;
};

/**
 * Says what went wrong, and offers the other engine where that would help.
 *
 * @param {unknown} error
 */
function report(error) {
  const [text, button] = find("notice").children;
  const sentence = sentenceOf(error);
  if (text.textContent === sentence && !find("notice").hidden) return; // or it would be spoken with each frame
  text.textContent = sentence;
  const helps = error instanceof Problem && error.engineGone && home.hasService;
  const other = kind() === "service" ? "browser" : "service";
  button.hidden = !helps;
  button.textContent = other === "browser" ? "Recognise in this browser" : "Recognise on the service";
  button.onclick = () => {
    const choice = find("engines").querySelector(`[value=${other}]`);
    choice.checked = true;
    choice.focus(); // the button goes away with the notice
    chooseEngine();
  };
  find("notice").hidden = false;
  if (viewer.isEmpty) viewer.say(""); // nothing is being opened any more
}

function forgetNotice() {
  find("notice").hidden = true;
}

/** @param {import("./types.js").Answer} answer */
function finished(answer) {
  speed.count(answer, way !== "pictures", kind());
  if (answer.faces.length) find("csv").disabled = false;
  if (way !== "pictures") forgetNotice(); // it was of a frame before
}

/** Opens the engine that is chosen, and lets it see again what is shown. */
async function chooseEngine() {
  forgetNotice();
  const local = kind() === "browser";
  find("where").textContent = local
    ? "Pictures stay on this machine."
    : `Pictures are sent to ${location.host}, and nowhere else.`;
  find("models").hidden = !local || home.models.length < 2;
  viewer.name(local ? model() : home.own);
  speed.reset();
  if (way === "pictures") find("csv").disabled = true; // until one is recognised anew
  const opening = engines.use(kind(), model());
  if (way === "pictures") album.recognise();
  else live.again();
  try {
    const engine = await opening;
    if (opening !== engines.current) return; // another was chosen meanwhile
    offerMasks(engine.masks);
    if (way === "nothing") viewer.say("Ready.");
  } catch (error) {
    if (opening !== engines.current) return;
    if (way === "nothing") viewer.say("");
    report(error);
  }
}

/** @param {number} count */
function offerMasks(count) {
  const select = find("masks").querySelector("select");
  find("masks").hidden = count === 0;
  select.replaceChildren(new Option("none", "0"));
  for (let stage = 1; stage <= count; stage++) select.append(new Option(`stage ${stage}`, String(stage)));
  viewer.mask = 0;
}

/** @param {Way} next */
function begin(next) {
  forgetNotice();
  speed.reset();
  live.close();
  album.close();
  way = next;
  showCamera(next === "camera");
  transport.show(next === "video");
  find("csv").disabled = true;
}

/** @param {boolean} on */
function showCamera(on) {
  cameraOn = on;
  find("camera").textContent = on ? "Stop camera" : "Camera";
}

async function toggleCamera() {
  if (cameraOn) {
    live.close(); // what was seen stays
    showCamera(false);
    if (viewer.isEmpty) viewer.say("The camera is off."); // it was being opened
    return;
  }
  begin("camera");
  viewer.say("Opening the camera…");
  try {
    await live.openCamera(() => showCamera(false));
  } catch (error) {
    showCamera(false);
    viewer.say("");
    report(error);
  }
}

/**
 * Opens the first video among files, or all of them as pictures.
 *
 * @param {Iterable<File>} list
 * @param {boolean} [asVideo] Whether they were chosen as videos: the browser does not know every kind by its name.
 */
async function openFiles(list, asVideo = false) {
  const files = [...list];
  const video = files.find(({ type }) => asVideo || type.startsWith("video/"));
  if (!files.length) return;
  begin(video ? "video" : "pictures");
  if (!video) {
    await album.open(files);
    return;
  }
  viewer.say("Opening the video…");
  try {
    await live.openVideo(video, () => transport.show(false));
  } catch (error) {
    transport.show(false);
    viewer.say("");
    report(error);
  }
}

function download() {
  const sheet = way === "pictures" ? album.sheet() : live.sheet;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([sheet.text()], { type: "text/csv" }));
  link.download = "faces.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // once the browser has certainly begun to save it
}

function listen() {
  window.onhashchange = () => location.reload(); // what stands there is read once, as the page begins
  find("camera").onclick = toggleCamera;
  for (const [button, input] of [["pictures", "picture-files"], ["video", "video-file"]]) {
    find(button).onclick = () => find(input).click();
    find(input).onchange = () => {
      openFiles(find(input).files, button === "video");
      find(input).value = ""; // so that the same file can be chosen again
    };
  }
  find("csv").onclick = download;
  find("engines").onchange = chooseEngine;
  find("models").onchange = chooseEngine;
  find("masks").onchange = () => {
    viewer.mask = Number(find("masks").querySelector("select").value);
    viewer.refresh();
  };
  document.ondragover = (event) => {
    event.preventDefault();
    find("drop").classList.add("over");
  };
  document.ondragleave = ({ relatedTarget }) => relatedTarget || find("drop").classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    find("drop").classList.remove("over");
    openFiles(event.dataTransfer?.files ?? []);
  };
}

async function start() {
  followTheme(find("theme"));
  listen();
  try {
    await home.load();
  } catch (error) {
    viewer.say("");
    report(error);
    engines.fail(error);
    return;
  }
  find("engines").hidden = !home.hasService;
  const select = find("models").querySelector("select");
  select.append(...home.models.map(({ name }) => new Option(name, name, name === home.first, name === home.first)));
  await chooseEngine();
  if (settings.has("camera") && way === "nothing") await toggleCamera(); // unless something was chosen meanwhile
}

start();
