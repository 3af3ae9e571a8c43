// Joins the parts of the page.

import { Chart } from "./chart.js";
import { Connection } from "./connection.js";
import { Legend } from "./legend.js";
import { Statistics } from "./statistics.js";
import { Tile, palette } from "./tile.js";

const REFRESH = 250; // of the panels, milliseconds
const SILENCE = 3_000; // after which the page says that nothing comes
const TOAST = 2_500;

const at = (id) => document.getElementById(id);
const portrait = matchMedia("(orientation: portrait)");

let classes = null;
let screen = null;
let lost = "";
let refused = false;
let cameBy = performance.now();
let tiles = [];
const settings = { palette: null, opacity: 0.5, beside: false, upright: portrait.matches };

const statistics = new Statistics();
const chart = new Chart(at("chart"));
const legend = new Legend(at("legend"), () => {
  settings.palette = palette(classes, legend.isOn);
  paint();
});
const connection = new Connection({ onWelcome: welcome, onScreen: show, onLost: lose });

function welcome(run) {
  lost = "";
  cameBy = performance.now();
  if (JSON.stringify(run.classes) !== JSON.stringify(classes)) {
    classes = chart.classes = run.classes;
    chart.clear();
    legend.fill(classes, (id) => (id ? !run.only || run.only.includes(id) : !run.keep_background));
    settings.palette = palette(classes, legend.isOn);
    setOpacity(run.opacity);
  }
}

function lose(reason, isRefused) {
  refused = isRefused;
  // What ended the connection stays, however often it cannot be made anew.
  lost ||= reason ? `${reason[0].toUpperCase()}${reason.slice(1)}.` : "The connection is lost.";
  refresh();
}

function show(news) {
  screen = news;
  cameBy = performance.now();
  statistics.count(cameBy);
  while (tiles.length < screen.views.length) tiles.push(new Tile());
  tiles.length = screen.views.length;
  screen.views.forEach((view, place) => tiles[place].take(view));
  if (at("tiles").childElementCount !== tiles.length) at("tiles").replaceChildren(...tiles.map(({ element }) => element));
  paint();
}

function paint() {
  if (!settings.palette) return;
  for (const tile of tiles) tile.paint(settings);
  const columns = columnsFor(tiles.length);
  const { width, height } = tiles[0]?.canvas ?? { width: 16, height: 9 };
  at("tiles").style.setProperty("--columns", columns);
  at("tiles").style.setProperty("--aspect", (height * Math.ceil(tiles.length / columns)) / (width * columns));
}

function columnsFor(count) {
  return portrait.matches && count < 4 ? 1 : Math.ceil(Math.sqrt(count));
}

/** Mean over the cameras that have a picture, by class id. */
function meanAreas() {
  const seen = screen.views.filter(({ areas }) => areas);
  const sums = [];
  for (const { areas } of seen) {
    for (const [id, share] of areas) sums[id] = (sums[id] ?? 0) + share / seen.length;
  }
  return sums;
}

function refresh() {
  const now = performance.now();
  const silent = now - cameBy > SILENCE;
  showState(silent);
  if (!screen) return;
  const areas = meanAreas();
  if (!lost && !silent && !screen.paused) chart.add(now, areas);
  chart.draw(now, legend.isOn);
  legend.show(areas, now);
  statistics.show(screen.figures, now);
  at("what").textContent = `${screen.figures.model} on ${screen.figures.device}`;
  at("record").ariaPressed = screen.recording;
  at("record").lastElementChild.textContent = screen.recording ? "Stop" : "Record";
  at("pause").querySelector("use").setAttribute("href", screen.paused ? "#icon-go" : "#icon-pause");
  at("pause").lastElementChild.textContent = screen.paused ? "Go on" : "Pause";
}

function showState(silent) {
  const next = refused ? "This address is of a run before; open the one that the new run printed." : "Connecting again…";
  const notice = lost
    ? `${lost} ${next}`
    : silent && screen && !screen.paused
      ? "Nothing has come from the run for some seconds."
      : "";
  if (at("notice").textContent !== notice) at("notice").textContent = notice;
  at("notice").hidden = !notice;
  at("viewer").classList.toggle("stale", Boolean(notice));
  const state = lost ? "lost" : !screen ? "connecting" : screen.paused ? "paused" : screen.recording ? "recording" : "live";
  at("state").dataset.state = state;
  const words = state === "lost" ? "no connection" : state;
  if (at("state").textContent !== words) at("state").textContent = words;
  for (const id of ["pause", "record", "snapshot"]) at(id).disabled = Boolean(lost) || !screen;
}

function setOpacity(opacity) {
  settings.opacity = Math.min(1, Math.max(0, opacity));
  at("opacity").value = Math.round(100 * settings.opacity);
  at("opacity-value").textContent = `${Math.round(100 * settings.opacity)} %`;
  paint();
}

function toggleBeside() {
  settings.beside = !settings.beside;
  at("beside").ariaPressed = settings.beside;
  paint();
}

/** Saves what is shown, tiled as it is, as a PNG. */
async function save() {
  const painted = tiles.map(({ canvas }) => canvas);
  if (!painted.length) return;
  const columns = columnsFor(painted.length);
  const width = Math.max(...painted.map((canvas) => canvas.width));
  const height = Math.max(...painted.map((canvas) => canvas.height));
  const whole = document.createElement("canvas");
  whole.width = columns * width;
  whole.height = Math.ceil(painted.length / columns) * height;
  const context = whole.getContext("2d");
  painted.forEach((canvas, place) => {
    context.drawImage(canvas, (place % columns) * width, Math.floor(place / columns) * height);
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await new Promise((resolve) => whole.toBlob(resolve, "image/png")));
  link.download = `sapiens-stream ${new Date().toISOString().slice(0, 19).replaceAll(":", ".")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  toast("Picture saved");
}

function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else at("viewer").requestFullscreen?.();
}

function toast(text) {
  at("toast").textContent = text;
  at("toast").classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => at("toast").classList.remove("shown"), TOAST);
}

function snapshot() {
  connection.send("snapshot");
  toast("The run was asked for a snapshot");
}

const actions = {
  pause: () => connection.send("pause"),
  record: () => connection.send("record"),
  snapshot,
  save,
  beside: toggleBeside,
  full: toggleFull,
};
for (const [id, action] of Object.entries(actions)) at(id).addEventListener("click", action);
at("opacity").addEventListener("input", ({ target }) => setOpacity(target.value / 100));
at("all").addEventListener("click", () => legend.switchAll(true));
at("none").addEventListener("click", () => legend.switchAll(false));
portrait.addEventListener("change", () => {
  settings.upright = portrait.matches;
  paint();
});

const opacitySteps = { "+": 0.1, "=": 0.1, "-": -0.1, _: -0.1 };
const shortcuts = Object.fromEntries(
  [...document.querySelectorAll("[aria-keyshortcuts]")].map((button) => [button.ariaKeyShortcuts, button]),
);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key in opacitySteps) setOpacity(settings.opacity + opacitySteps[event.key]);
  else shortcuts[event.key.toLowerCase()]?.click();
});

setInterval(refresh, REFRESH);
refresh();
