// The viewer: what is chosen, what is drawn of it, and the address of both.
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
const label = (editor) => {
  const { name, knob, values, anchor } = run.editors[editor];
  return anchor ? name : `${name}, ${knob} ${shownValue(values[view.picks[editor]])}`.replace(",  ", ", ");
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

const drawStage = () => {
  const other = byId("stage-with").value;
  const original = ORIGINALS.indexOf(other);
  const over = original >= 0 ? originalOf(view.sample, original) : pickedPicture(Number(other));
  const overName = original >= 0 ? { source: "source", truth: "ground truth" }[other] : label(Number(other));
  setStage(pickedPicture(view.editor), label(view.editor), over, overName, originalOf(view.sample, 2));
};

const drawScores = () => all("#scores tbody tr").forEach((row) => {
  const editor = Number(row.dataset.editor);
  const edit = editOf(view.sample, view.seed, editor, view.picks[editor]);
  const { knob, values, anchor } = run.editors[editor];
  row.classList.toggle("chosen", editor === view.editor);
  row.querySelector("small").textContent = anchor ? "" : `${knob} ${shownValue(values[view.picks[editor]])}`;
  all("td", row).forEach((cell, metric) => { cell.textContent = shownScore(metric, edit); });
});

const pictureButton = (editor, value) => {
  const { name, knob, values, anchor } = run.editors[editor];
  const button = document.createElement("button");
  const what = anchor ? name : `${name}, ${knob} ${shownValue(values[value])}`;
  button.type = "button";
  button.className = "picture";
  button.tabIndex = -1;
  Object.assign(button.dataset, { editor, value });
  button.append(thumb(editPicture(view.sample, view.seed, editor, value), what));
  if (view.layout === "all" && !anchor) button.append(line(shownValue(values[value]), "under"));
  return button;
};

const drawCard = (card) => {
  const editor = Number(card.dataset.editor);
  const { values } = run.editors[editor];
  const pick = view.picks[editor];
  const strip = card.querySelector(".strip");
  const wanted = view.layout === "one" ? [pick] : values.map((_, value) => value);
  const reason = failureOf(unitOf(view.sample, view.seed, editor));
  const key = [view.sample, view.seed, wanted].join();
  if (strip.dataset.key !== key) {
    strip.dataset.key = key;
    const held = strip.contains(document.activeElement);
    strip.replaceChildren(...wanted.map((value) => pictureButton(editor, value)));
    if (held) strip.firstElementChild.focus();
    const extras = card.querySelector(".extras");
    extras.replaceChildren(...extrasOf(view.sample, view.seed, editor).map((extra) => {
      const box = document.createElement("figure");
      box.append(thumb(extra, `${run.editors[editor].name}, ${extra.name}`), line(extra.name, "under"));
      return box;
    }));
  }
  all("button", strip).forEach((button) => {
    const chosen = editor === view.editor && Number(button.dataset.value) === pick;
    button.setAttribute("aria-pressed", chosen);
    button.classList.toggle("picked", Number(button.dataset.value) === pick);
    button.tabIndex = chosen ? 0 : -1;
  });
  const failure = card.querySelector(".failure");
  failure.hidden = !reason;
  failure.textContent = reason;
  card.classList.toggle("chosen", editor === view.editor);
  const own = card.querySelector("input");
  const output = card.querySelector("output");
  if (own) {
    own.value = pick;
    own.setAttribute("aria-valuetext", shownValue(values[pick]));
  }
  if (output) output.textContent = shownValue(values[pick]);
};

const drawSample = () => {
  const { id, category, source, target } = run.samples;
  byId("sample-title").textContent = id[view.sample];
  byId("sample-category").textContent = category[view.sample];
  byId("sample-category").hidden = !category[view.sample];
  byId("sample-source").textContent = source[view.sample];
  byId("sample-target").textContent = `→ ${target[view.sample]}`;
  const at = list.order.indexOf(view.sample);
  byId("sample-previous").disabled = at <= 0;
  byId("sample-next").disabled = at < 0 || at === list.order.length - 1;
  byId("originals").replaceChildren(...ORIGINALS.flatMap((name, number) => {
    const picture = originalOf(view.sample, number);
    if (picture.missing === "none") return [];
    const box = document.createElement("figure");
    const words = { source: "source", truth: "ground truth", mask: "mask" }[name];
    box.append(thumb(picture, words), line(words, "under"));
    return [box];
  }));
  const choices = byId("stage-with");
  all("option", choices).forEach((option) => {
    option.disabled = option.value === "truth" && Boolean(originalOf(view.sample, 1).missing);
    if (option.disabled && option.selected) choices.value = "source";
  });
};

const draw = () => {
  const shown = shownEditors();
  const hidden = (part) => { part.hidden = !shown.includes(Number(part.dataset.editor)); };
  byId("edits").dataset.layout = view.layout;
  all("#scores tbody tr").forEach(hidden);
  cards().forEach(hidden);
  cards().filter((card) => !card.hidden).forEach(drawCard);
  drawScores();
  drawStage();
  drawList(view.sample);
  writeAddress();
};

const show = (sample) => {
  if (sample === undefined) return;
  view.sample = sample;
  reveal(sample);
  drawSample();
  draw();
};
const step = (by) => show(list.order[Math.max(0, Math.min(list.order.length - 1, list.order.indexOf(view.sample) + by))]);

const rearrange = () => {
  const wanted = filters();
  all(".sorted", controls).forEach((part) => { part.hidden = wanted.metric === null; });
  arrange(wanted, view.seed, view.picks, shownEditors());
  byId("list").scrollTop = 0;
  if (!list.order.includes(view.sample) && list.order.length) view.sample = list.order[0];
  show(view.sample);
};

const moveAll = (share) => {
  run.editors.forEach(({ values }, editor) => { view.picks[editor] = Math.round(share * (values.length - 1)); });
  draw();
};

const fill = () => {
  run.editors.forEach((editor, number) => {
    view.picks[number] = editor.at;
    if (number > 0 && run.editors[view.editor].anchor && !editor.anchor) view.editor = number;
  });
  const head = byId("scores").tHead.rows[0];
  run.metrics.forEach(({ title, better }, number) => {
    controls.elements.metric.append(new Option(title, number));
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = `${title} ${{ higher: "↑", lower: "↓" }[better] ?? ""}`;
    head.append(cell);
  });
  all("#scores tbody tr").forEach((row) => run.metrics.forEach(() => row.insertCell()));
  const choices = byId("stage-with");
  choices.append(new Option("the source", "source"), new Option("the ground truth", "truth"));
  run.editors.forEach(({ name }, number) => choices.append(new Option(name, number)));
  list.edit = (sample) => pickedPicture(view.editor, sample);
};

const listen = () => {
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", (event) => {
    if (event.target.name === "seed") view.seed = Number(event.target.value);
    if (event.target.name === "less" && event.target.value !== "") controls.elements.order.value = "1";
    rearrange();
  });
  byId("list").addEventListener("scroll", () => window.requestAnimationFrame(() => drawList(view.sample)), { passive: true });
  byId("list").addEventListener("click", (event) => {
    const row = event.target.closest(".line");
    if (row) show(Number(row.dataset.sample));
  });
  byId("list").addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW) - 1);
    const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity }[event.key];
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined && along === undefined) return;
    event.preventDefault();
    if (by !== undefined) return step(by);
    const slider = byId("knobs-all");
    const most = Math.max(1, ...run.editors.map(({ values }) => values.length - 1));
    slider.value = Math.round((Math.round((slider.value / 100) * most) + along) / most * 100);
    return moveAll(slider.value / 100);
  });
  byId("sample-previous").addEventListener("click", () => step(-1));
  byId("sample-next").addEventListener("click", () => step(1));
  byId("knobs-all").addEventListener("input", (event) => moveAll(event.target.value / 100));
  byId("knobs-all").addEventListener("change", rearranged);
  const layout = byId("knobs-layout");
  const lay = (button) => {
    choose(layout, button, "aria-checked");
    view.layout = button.dataset.layout;
    draw();
  };
  all("button", layout).forEach((button) => button.addEventListener("click", () => lay(button)));
  rove(layout, () => all("button", layout), lay);
  const edits = byId("edits");
  edits.addEventListener("input", (event) => {
    view.editor = Number(event.target.closest(".edit").dataset.editor);
    view.picks[view.editor] = Number(event.target.value);
    draw();
  });
  edits.addEventListener("change", rearranged);
  edits.addEventListener("click", (event) => {
    const button = event.target.closest("button.picture");
    if (button) take(Number(button.dataset.editor), Number(button.dataset.value));
  });
  edits.addEventListener("keydown", (event) => {
    if (!event.target.matches("button.picture")) return;
    const shown = shownEditors();
    const down = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (down === undefined && along === undefined) return;
    event.preventDefault();
    const next = shown[shown.indexOf(view.editor) + (down ?? 0)];
    if (next === undefined) return;
    const last = run.editors[next].values.length - 1;
    take(next, Math.max(0, Math.min(last, view.picks[next] + (along ?? 0))));
    all("#edits [aria-pressed=true]")[0]?.focus();
  });
  openStage(drawStage);
};

/** Sorted by a score at the chosen values, the samples change their places when these do. */
const rearranged = () => { if (filters().metric !== null) rearrange(); };

const take = (editor, value) => {
  view.editor = editor;
  view.picks[editor] = value;
  draw();
};

const openViewer = async (hash) => {
  const lost = byId("viewer-lost");
  view.top = byId("report").hidden ? view.top : window.scrollY;
  byId("tip").hidden = true;
  byId("report").hidden = true;
  byId("viewer").hidden = false;
  window.scrollTo(0, 0);
  try {
    await loadRun();
  } catch {
    lost.hidden = false;
    lost.textContent = "The pictures are not here: viewer-data.js and the folder pictures/ belong beside this page.";
    all("#controls, .panes").forEach((part) => { part.hidden = true; });
    return;
  }
  if (!view.ready) {
    fill();
    listen();
    view.ready = true;
  }
  readAddress(hash);
  document.title = `Pictures of ${run.title} · etabench`;
  rearrange();
  byId("list").focus({ preventScroll: true });
};

const closeViewer = (hash) => {
  const was = byId("report").hidden;
  beat(false);
  byId("viewer").hidden = true;
  byId("report").hidden = false;
  if (!was) return;
  const part = hash.length > 1 && hash !== "#content" ? byId(hash.slice(1)) : null;
  if (part) part.scrollIntoView();
  else window.scrollTo(0, view.top);
};

const route = () => {
  const hash = window.location.hash;
  if (byId("viewer") === null) return;
  if (/^#(viewer$|(sample|editor)=)/.test(hash)) openViewer(hash);
  else closeViewer(hash);
};
window.addEventListener("hashchange", route);
route();
