// One sample: its originals, the stage, the scores, and a card of edits for each editor.
/** A text that scrolls can be reached by the keyboard. */
const reachable = (part) => {
  if (part.scrollHeight > part.clientHeight) part.tabIndex = 0;
  else part.removeAttribute("tabindex");
};

const drawStage = () => {
  const other = byId("stage-with").value;
  const original = ORIGINALS.indexOf(other);
  const over = original >= 0 ? originalOf(view.sample, original) : pickedPicture(Number(other));
  const overName = original >= 0 ? { source: "source", truth: "ground truth" }[other] : label(Number(other));
  const map = mapPicture(view.sample, view.seed, view.editor, view.picks[view.editor]);
  setStage(pickedPicture(view.editor), label(view.editor), over, overName, originalOf(view.sample, 2), map);
  reachable(byId("stage-missing"));
};

const drawScores = () => all("#scores tbody tr").forEach((row) => {
  const editor = Number(row.dataset.editor);
  const edit = editOf(view.sample, view.seed, editor, view.picks[editor]);
  const { name, anchor } = run.editors[editor];
  row.classList.toggle("chosen", editor === view.editor);
  row.querySelector("small").textContent = anchor ? "" : label(editor).slice(name.length + 2);
  all("td", row).forEach((cell, metric) => { cell.textContent = shownScore(metric, edit); });
});

const pictureButton = (editor, value) => {
  const { values, anchor } = run.editors[editor];
  const button = document.createElement("button");
  const what = label(editor, value);
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
  if (reason) reachable(failure);
  card.classList.toggle("chosen", editor === view.editor);
  const own = card.querySelector("input");
  const output = card.querySelector("output");
  if (own) {
    own.value = pick;
    own.setAttribute("aria-valuetext", shownValue(values[pick]));
  }
  if (output) output.textContent = run.editors[editor].knob || values.length > 1 ? shownValue(values[pick]) : "";
};

const drawSample = () => {
  const { id, category, source, target } = run.samples;
  byId("sample-title").textContent = id[view.sample];
  byId("sample-category").textContent = category[view.sample];
  byId("sample-category").hidden = !category[view.sample];
  byId("sample-source").textContent = source[view.sample];
  byId("sample-target").textContent = `→ ${target[view.sample]}`;
  all("#sample-title, .sample .texts").forEach(reachable);
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
