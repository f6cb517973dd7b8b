// What viewer-data.js holds and how it is asked: flat arrays over units and edits, as reports/viewer/grid.py numbers them.
const INFINITE = 1e308;
const ORIGINALS = ["source", "truth", "mask"];
const run = {};

/** Called by viewer-data.js. */
const receiveRun = (content) => {
  Object.assign(run, content);
  run.first = [0];
  run.editors.forEach((editor) => run.first.push(run.first.at(-1) + editor.values.length));
  run.cells = run.first.at(-1);
  run.metrics.forEach((metric) => { metric.undefined = new Set(metric.undefined); });
};

const loadRun = () => new Promise((resolve, reject) => {
  if (run.samples) return resolve();
  const inside = byId("viewer-data");
  if (inside) {
    receiveRun(JSON.parse(inside.textContent));
    return resolve();
  }
  const script = document.createElement("script");
  script.addEventListener("load", resolve);
  script.addEventListener("error", reject);
  script.src = "viewer-data.js";
  return document.head.append(script);
});

const unitOf = (sample, seed, editor) => (sample * run.seeds.length + seed) * run.editors.length + editor;
const editOf = (sample, seed, editor, value) => (sample * run.seeds.length + seed) * run.cells + run.first[editor] + value;
const failureOf = (unit) => (unit in run.failures.units ? run.failures.reasons[run.failures.units[unit]] : "");
const scoreOf = (metric, edit) => run.metrics[metric].scores[edit];

const shownScore = (metric, edit) => {
  const { scores, digits, undefined: none } = run.metrics[metric];
  const score = scores[edit];
  if (score === null) return none.has(edit) ? "undefined" : "–";
  return Math.abs(score) >= INFINITE ? (score > 0 ? "∞" : "−∞") : score.toFixed(digits).replace("-", "−");
};

/** A picture: its addresses, small and whole, or why there is none. */
const pictureOf = (name, state, absent = "not delivered") => {
  const missing = { ".": absent, l: "its file is gone", u: "its file is unreadable" }[state];
  if (missing) return { missing };
  const whole = run.embedded ? run.embedded[name] : `pictures/${name}.png`;
  return { whole, small: state === "r" ? `pictures/${name}.webp` : whole };
};

const folderOf = (sample) => String(sample).padStart(5, "0");
const originalOf = (sample, place) =>
  pictureOf(`${folderOf(sample)}/${ORIGINALS[place]}`, run.samples.originals[3 * sample + place], "none");
const editPicture = (sample, seed, editor, value) => {
  const reason = failureOf(unitOf(sample, seed, editor));
  const name = `${folderOf(sample)}/${seed}-${run.first[editor] + value}`;
  return pictureOf(name, run.edits[editOf(sample, seed, editor, value)], reason || "not delivered");
};
const mapPicture = (sample, seed, editor, value) => {
  const name = `${folderOf(sample)}/${seed}-${run.first[editor] + value}-map`;
  return pictureOf(name, run.maps[editOf(sample, seed, editor, value)] ?? ".", "no map was made of this edit: score the run again");
};
const extrasOf = (sample, seed, editor) => (run.extras[unitOf(sample, seed, editor)] ?? []).map(([name, state], place) => (
  { name, ...pictureOf(`${folderOf(sample)}/${seed}-${editor}-${place}`, state) }
));

const shownValue = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
