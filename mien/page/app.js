/** The controls of the page. */

import { Album } from "./album.js";
import { Engines } from "./engines.js";
import { PageError, sentenceOf } from "./errors.js";
import { entriesWithFolders, mediaIn, saveFile } from "./files.js";
import { Host } from "./host.js";
import { Live } from "./live.js";
import { framesCsv, picturesCsv } from "./records.js";
import { reportOf } from "./report.js";
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
const engines = new Engines(host, showProgress);
const viewer = new Viewer(element);
const speed = new Speed(element("speed"));
const album = new Album(element("strip"), viewer, engines, showError, onAnswer);
const live = new Live(element("source"), viewer, engines, showError, onAnswer);
const transport = new Transport(element("transport"), element("source"));
/** The current source. @type {Source} */
let source = "none";
let isCameraOn = false;
/** The name of the camera or the video in its report. */
let sourceName = "";

/** The selected engine. */
const engineKind = () => /** @type {Kind} */ (document.querySelector("#engines input:checked")?.getAttribute("value"));
/** The selected model. */
const selectedModel = () => {
  const selectedName = element("models").querySelector("select").value;
  return host.models.find(({ name }) => name === selectedName) ?? host.defaultModel;
};

/**
 * Shows an error, and offers what may help: to try again, or to use the other engine.
 *
 * @param {unknown} error
 * @param {(() => void) | null} [retry] What may succeed now; by default, a failed engine is opened again.
 */
function showError(error, retry = null) {
  const [text, again, other] = element("notice").children;
  const sentence = sentenceOf(error);
  if (text.textContent === sentence && !element("notice").hidden) return; // do not announce it again for each frame
  text.textContent = sentence;
  const engineFailed = error instanceof PageError && error.engineFailed;
  const action = retry ?? (engineFailed ? useSelectedEngine : null);
  again.hidden = !action;
  again.onclick = () => {
    hideNotice();
    element("camera").focus(); // the button disappears with the notice
    action?.();
  };
  const otherKind = engineKind() === "service" ? "browser" : "service";
  other.hidden = !(engineFailed && host.hasService);
  other.textContent = otherKind === "browser" ? "Recognise in this browser" : "Recognise on the service";
  other.onclick = () => {
    const choice = element("engines").querySelector(`[value=${otherKind}]`);
    choice.checked = true;
    choice.focus();
    useSelectedEngine();
  };
  element("notice").hidden = false;
  if (viewer.isEmpty) viewer.showMessage(""); // nothing is being opened any more
}

/** @param {number} fraction The part of the model files that has arrived; 1 once the engine is ready or has failed. */
function showProgress(fraction) {
  const bar = element("loading");
  bar.hidden = fraction === 1;
  if (Number.isFinite(fraction)) bar.value = fraction;
  else bar.removeAttribute("value"); // the size of the files is unknown
}

function hideNotice() {
  element("notice").hidden = true;
}

/** @param {import("./types.js").Answer} answer */
function onAnswer(answer) {
  speed.add(answer, source !== "pictures", engineKind());
  if (answer.faces.length) element("saves").disabled = false;
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
  if (source === "pictures") element("saves").disabled = true; // until a picture is recognised again
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
  element("saves").disabled = true;
  element("report").hidden = next === "pictures";
  sourceName = "Camera";
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
  /** @param {unknown} error */
  const fail = (error) => {
    showCameraState(false);
    viewer.showMessage("");
    showError(error, toggleCamera);
  };
  await live.openCamera(fail).catch(fail);
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
  sourceName = video.name;
  viewer.showMessage("Opening the video…");
  /** @param {unknown} error */
  const fail = (error) => {
    transport.setVisible(false);
    viewer.showMessage("");
    showError(error);
  };
  await live.openVideo(video, fail).catch(fail);
}

function saveCsv() {
  const text = source === "pictures" ? picturesCsv(album.records()) : framesCsv(live.history.records());
  saveFile(new Blob([text], { type: "text/csv" }), "faces.csv");
}

function saveJson() {
  if (source === "pictures") {
    saveFile(new Blob([`${JSON.stringify(album.records(), null, 2)}\n`], { type: "application/json" }), "faces.json");
    return;
  }
  const lines = live.history.records().map((record) => `${JSON.stringify(record)}\n`);
  saveFile(new Blob(lines, { type: "application/jsonl" }), "faces.jsonl");
}

async function savePicture() {
  const copy = viewer.stage.copy();
  if (copy) saveFile(await copy.convertToBlob({ type: "image/png" }), "faces.png");
}

async function saveReport() {
  const { colours } = engineKind() === "browser" ? selectedModel() : host.defaultModel;
  const report = await reportOf(live.history.records(), live.moments, { title: sourceName, colours });
  saveFile(new Blob([report], { type: "text/html" }), "report.html");
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
  element("csv").onclick = saveCsv;
  element("json").onclick = saveJson;
  element("still").onclick = savePicture;
  element("report").onclick = () => saveReport().catch(showError);
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
    if (!event.dataTransfer) return;
    const entries = entriesWithFolders(event.dataTransfer);
    if (entries.length) mediaIn(entries).then(openFiles, showError);
    else openFiles(event.dataTransfer.files);
  };
  document.onpaste = (event) => openFiles(event.clipboardData?.files ?? []);
}

/** Loads the list of models and the selected engine. */
async function load() {
  try {
    await host.load();
  } catch (error) {
    viewer.showMessage("");
    showError(error, load);
    engines.fail(error);
    return;
  }
  element("engines").hidden = !host.hasService;
  const select = element("models").querySelector("select");
  select.replaceChildren();
  for (const { name } of host.models) {
    const isDefault = name === host.defaultName;
    select.append(new Option(name, name, isDefault, isDefault));
  }
  await useSelectedEngine();
  if (options.has("camera") && source === "none") await toggleCamera(); // unless the user chose a source meanwhile
}

element("unopened").remove(); // it is for a page whose scripts do not run
initTheme(element("theme"));
addListeners();
load();
