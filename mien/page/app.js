/** The controls of the page. */

import { Album } from "./album.js";
import { Engines } from "./engines.js";
import { PageError, sentenceOf } from "./errors.js";
import { Host } from "./host.js";
import { Live } from "./live.js";
import { Speed } from "./speed.js";
import { initTheme } from "./theme.js";
import { Transport } from "./transport.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./engines.js").Kind} Kind */
/** @typedef {"none" | "camera" | "video" | "pictures"} Source */

/** @type {(id: string) => any} */
const element = (id) => document.getElementById(id);

// The fragment is never sent to a server, unlike a query. A plus sign is kept, because tokens may contain it.
const options = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
const listMeta = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=mien-models]"));
const host = new Host(listMeta.content, options.get("token"));
const engines = new Engines(host);
const viewer = new Viewer(element);
const speed = new Speed(element("speed"));
const album = new Album(element("strip"), viewer, engines, showError, onAnswer);
const live = new Live(element("source"), viewer, engines, showError, onAnswer);
const transport = new Transport(element("transport"), element("source"));
/** The current source. @type {Source} */
let source = "none";
let isCameraOn = false;

/** The selected engine. */
const engineKind = () => /** @type {Kind} */ (document.querySelector("#engines input:checked")?.getAttribute("value"));
/** The selected model. */
const selectedModel = () => {
  const selectedName = element("models").querySelector("select").value;
  return host.models.find(({ name }) => name === selectedName) ?? host.defaultModel;
};

/**
 * Shows an error, and offers the other engine if that helps.
 *
 * @param {unknown} error
 */
function showError(error) {
  const [text, button] = element("notice").children;
  const sentence = sentenceOf(error);
  if (text.textContent === sentence && !element("notice").hidden) return; // do not announce it again for each frame
  text.textContent = sentence;
  const otherKind = engineKind() === "service" ? "browser" : "service";
  button.hidden = !(error instanceof PageError && error.engineFailed && host.hasService);
  button.textContent = otherKind === "browser" ? "Recognise in this browser" : "Recognise on the service";
  button.onclick = () => {
    const choice = element("engines").querySelector(`[value=${otherKind}]`);
    choice.checked = true;
    choice.focus(); // the button disappears with the notice
    useSelectedEngine();
  };
  element("notice").hidden = false;
  if (viewer.isEmpty) viewer.showMessage(""); // nothing is being opened any more
}

function hideNotice() {
  element("notice").hidden = true;
}

/** @param {import("./types.js").Answer} answer */
function onAnswer(answer) {
  speed.add(answer, source !== "pictures", engineKind());
  if (answer.faces.length) element("csv").disabled = false;
  if (source !== "pictures") hideNotice(); // it was about an earlier frame
}

/** Opens the selected engine and recognises the current picture or frame again. */
async function useSelectedEngine() {
  hideNotice();
  const isLocal = engineKind() === "browser";
  element("privacy").textContent = isLocal
    ? "Pictures stay on this machine."
    : `Pictures are sent to ${location.host} and nowhere else.`;
  element("models").hidden = !isLocal || host.models.length < 2;
  viewer.setModel(isLocal ? selectedModel() : host.defaultModel);
  speed.reset();
  if (source === "pictures") element("csv").disabled = true; // until a picture is recognised again
  const opening = engines.use(engineKind(), selectedModel());
  if (source === "pictures") album.recognise();
  else live.recogniseAgain();
  try {
    const engine = await opening;
    if (opening !== engines.current) return; // another engine was selected meanwhile
    offerMasks(engine.maskCount);
    if (source === "none") viewer.showMessage("Ready.");
  } catch (error) {
    if (opening !== engines.current) return;
    if (source === "none") viewer.showMessage("");
    showError(error);
  }
}

/** @param {number} count */
function offerMasks(count) {
  const select = element("masks").querySelector("select");
  element("masks").hidden = count === 0;
  select.replaceChildren(new Option("none", "0"));
  for (let stage = 1; stage <= count; stage++) select.append(new Option(`stage ${stage}`, String(stage)));
  viewer.mask = 0;
}

/**
 * Closes the current source and prepares the page for another one.
 *
 * @param {Source} next
 */
function switchSource(next) {
  hideNotice();
  speed.reset();
  live.close();
  album.close();
  source = next;
  showCameraState(next === "camera");
  transport.setVisible(next === "video");
  element("csv").disabled = true;
}

/** @param {boolean} isOn */
function showCameraState(isOn) {
  isCameraOn = isOn;
  element("camera").textContent = isOn ? "Stop camera" : "Camera";
}

async function toggleCamera() {
  if (isCameraOn) {
    live.close(); // the last frame stays visible
    showCameraState(false);
    if (viewer.isEmpty) viewer.showMessage("The camera is off."); // it was still being opened
    return;
  }
  switchSource("camera");
  viewer.showMessage("Opening the camera…");
  try {
    await live.openCamera(() => showCameraState(false));
  } catch (error) {
    showCameraState(false);
    viewer.showMessage("");
    showError(error);
  }
}

/**
 * Opens the first video among the files, or all files as pictures.
 *
 * @param {Iterable<File>} list
 * @param {boolean} [asVideo] Whether to treat the first file as a video even if the browser does not know its type.
 */
async function openFiles(list, asVideo = false) {
  const files = [...list];
  const video = files.find(({ type }) => asVideo || type.startsWith("video/"));
  if (!files.length) return;
  switchSource(video ? "video" : "pictures");
  if (!video) {
    await album.open(files);
    return;
  }
  viewer.showMessage("Opening the video…");
  try {
    await live.openVideo(video, () => transport.setVisible(false));
  } catch (error) {
    transport.setVisible(false);
    viewer.showMessage("");
    showError(error);
  }
}

function downloadCsv() {
  const table = source === "pictures" ? album.toCsv() : live.csv;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table.text()], { type: "text/csv" }));
  link.download = "faces.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser has started to save it by then
}

function addListeners() {
  window.onhashchange = () => location.reload(); // the fragment is read only once, at the start
  element("camera").onclick = toggleCamera;
  for (const [button, input] of [["pictures", "picture-files"], ["video", "video-file"]]) {
    element(button).onclick = () => element(input).click();
    element(input).onchange = () => {
      openFiles(element(input).files, button === "video");
      element(input).value = ""; // so that the same file can be chosen again
    };
  }
  element("csv").onclick = downloadCsv;
  element("engines").onchange = useSelectedEngine;
  element("models").onchange = useSelectedEngine;
  element("masks").onchange = () => {
    viewer.mask = Number(element("masks").querySelector("select").value);
    viewer.refresh();
  };
  document.ondragover = (event) => {
    event.preventDefault();
    element("drop").classList.add("over");
  };
  document.ondragleave = ({ relatedTarget }) => relatedTarget || element("drop").classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    element("drop").classList.remove("over");
    openFiles(event.dataTransfer?.files ?? []);
  };
}

async function start() {
  initTheme(element("theme"));
  addListeners();
  try {
    await host.load();
  } catch (error) {
    viewer.showMessage("");
    showError(error);
    engines.fail(error);
    return;
  }
  element("engines").hidden = !host.hasService;
  const select = element("models").querySelector("select");
  for (const { name } of host.models) {
    const isDefault = name === host.defaultName;
    select.append(new Option(name, name, isDefault, isDefault));
  }
  await useSelectedEngine();
  if (options.has("camera") && source === "none") await toggleCamera(); // unless the user chose a source meanwhile
}

start();
