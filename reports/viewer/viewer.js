// What the reader does: choosing, moving knobs, filtering, coming and going between the two views.
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

/** Filters and sorts anew; the sample stays if it is still there, unless the `first` one is asked for. */
const rearrange = (first = false) => {
  const wanted = filters();
  all(".sorted", controls).forEach((part) => { part.hidden = wanted.metric === null; });
  arrange(wanted, view.seed, view.picks, shownEditors());
  byId("list").scrollTop = 0;
  if (list.order.length && (first || !list.order.includes(view.sample))) view.sample = list.order[0];
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
  byId("knobs-all").parentElement.hidden = run.editors.every(({ values }) => values.length < 2);
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
  list.pair = (sample) => {
    const { metric, of, less } = filters();
    if (metric === null) return [originalOf(sample, 0), pickedPicture(view.editor, sample)];
    return [less === null ? originalOf(sample, 0) : pickedPicture(less, sample), pickedPicture(of, sample)];
  };
};

const listen = () => {
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", (event) => {
    if (event.target.name === "seed") view.seed = Number(event.target.value);
    rearrange(["metric", "of", "less", "order"].includes(event.target.name));
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

const route = (address) => {
  const { hash } = new URL(address);
  if (byId("viewer") === null) return;
  clearTimeout(view.address);
  if (/^#(viewer$|(sample|editor)=)/.test(hash)) openViewer(hash);
  else closeViewer(hash);
};
window.addEventListener("hashchange", (event) => route(event.newURL));
route(window.location.href);
