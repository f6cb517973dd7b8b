// What is chosen, and its address.
const view = { sample: 0, seed: 0, editor: 0, picks: [], layout: "one", ready: false, address: 0, top: 0 };
const controls = byId("controls");
const cards = () => all("#edits .edit");

const shownEditors = () => all("[name=shown]:checked", controls).map((box) => Number(box.value));
const filters = () => {
  const { text, category, state, metric, of, less, order } = controls.elements;
  const numbered = (field) => (field.value === "" ? null : Number(field.value));
  return {
    text: text.value, category: category?.value ?? "", state: state.value, metric: numbered(metric),
    of: Number(of.value), less: numbered(less), order: Number(order.value),
  };
};
/** An editor at a value of its knob, as readers call it. */
const label = (editor, value = view.picks[editor]) => {
  const { name, knob, values } = run.editors[editor];
  const at = knob || values.length > 1 ? `${knob} ${shownValue(values[value])}`.trim() : "";
  return at ? `${name}, ${at}` : name;
};
const pickedPicture = (editor, sample = view.sample) => editPicture(sample, view.seed, editor, view.picks[editor]);

const writeAddress = () => {
  clearTimeout(view.address);
  view.address = setTimeout(() => {
    const { name, values, anchor } = run.editors[view.editor];
    const parts = new URLSearchParams({ sample: run.samples.id[view.sample], editor: name });
    if (!anchor) parts.set("value", values[view.picks[view.editor]]);
    if (run.seeds.length > 1) parts.set("seed", run.seeds[view.seed]);
    window.history.replaceState(null, "", `#${parts}`);
  }, 150);
};

/** Takes what an address names; what it does not name, or names wrongly, stays as it is. */
const readAddress = (hash) => {
  const parts = new URLSearchParams(hash.slice(1));
  const find = (key, among) => (parts.has(key) ? among.map(String).indexOf(parts.get(key)) : -1);
  const sample = find("sample", run.samples.id);
  const editor = find("editor", run.editors.map((each) => each.name));
  const seed = find("seed", run.seeds);
  if (sample >= 0) view.sample = sample;
  if (seed >= 0) view.seed = seed;
  if (editor >= 0) view.editor = editor;
  if (editor >= 0 && parts.has("value")) {
    const value = Number(parts.get("value"));
    const value_at = run.editors[editor].values.findIndex((each) => Math.abs(each - value) < 1e-9 * Math.max(1, Math.abs(value)));
    if (value_at >= 0) view.picks[editor] = value_at;
  }
  if (controls.elements.seed) controls.elements.seed.value = view.seed;
};
