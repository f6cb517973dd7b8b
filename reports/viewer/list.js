// The samples: filtered, sorted, and only the rows in sight drawn.
const ROW = 76;
const MARGIN = 6;
const list = { order: [], keys: null, pair: () => [{}, {}] };

/** The value that a sample is sorted by: a score, or how far two scores are apart; null where one is missing. */
const sortKey = (sample, seed, picks, { metric, of, less }) => {
  const one = scoreOf(metric, editOf(sample, seed, of, picks[of]));
  if (less === null) return one;
  const other = scoreOf(metric, editOf(sample, seed, less, picks[less]));
  return one === null || other === null ? null : Math.abs(one - other);
};

const hasState = (sample, seed, editor, wanted) => {
  if (wanted === "failed") return failureOf(unitOf(sample, seed, editor)) !== "";
  const places = run.editors[editor].values.map((_, value) => editOf(sample, seed, editor, value));
  if (wanted === "missing") return places.some((place) => !"wr".includes(run.edits[place]));
  return places.some((place) => run.metrics.some((metric) => metric.undefined.has(place)));
};

/** The samples that the filters leave, in the order asked for; those without the score come last. */
const arrange = (filters, seed, picks, shown) => {
  const { id, category, source, target } = run.samples;
  const text = filters.text.trim().toLocaleLowerCase();
  let order = id.map((_, sample) => sample);
  if (text) order = order.filter((s) => `${id[s]}\n${source[s]}\n${target[s]}`.toLocaleLowerCase().includes(text));
  if (filters.category) order = order.filter((s) => `=${category[s]}` === filters.category);
  if (filters.state) order = order.filter((s) => shown.some((editor) => hasState(s, seed, editor, filters.state)));
  list.keys = null;
  if (filters.metric !== null) {
    list.keys = new Map(order.map((s) => [s, sortKey(s, seed, picks, filters)]));
    const compare = (a, b) => (a === null || b === null ? (a === null) - (b === null) : filters.order * (b - a));
    order.sort((a, b) => compare(list.keys.get(a), list.keys.get(b)));
  }
  list.order = order;
  byId("list-rows").style.height = `${order.length * ROW}px`;
  byId("list-count").textContent = `${order.length} of ${id.length} samples`;
};

/** A button of a picture, or a box that says why there is none. */
const thumb = ({ small, missing }, label) => {
  const box = document.createElement(missing ? "span" : "img");
  box.className = missing ? "thumb missing" : "thumb";
  if (missing) {
    box.textContent = label ? missing : "none";
    box.title = missing;
  } else {
    box.alt = label;
    box.loading = "lazy";
    box.decoding = "async";
    box.addEventListener("load", () => box.classList.toggle("pixels", Math.max(box.naturalWidth, box.naturalHeight) <= 128), { once: true });
    box.addEventListener("error", () => box.replaceWith(thumb({ missing: "its file is gone" }, label)), { once: true });
    box.src = small;
  }
  return box;
};

const line = (text, name) => {
  const part = document.createElement("span");
  part.className = name;
  part.dir = "auto";
  part.textContent = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return part;
};

const rowOf = (sample, place, chosen) => {
  const row = document.createElement("div");
  row.id = `row-${sample}`;
  row.className = "line";
  row.dataset.sample = sample;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", sample === chosen);
  row.setAttribute("aria-posinset", place + 1);
  row.setAttribute("aria-setsize", list.order.length);
  row.style.top = `${place * ROW}px`;
  const words = document.createElement("span");
  words.className = "words";
  const key = list.keys?.get(sample);
  words.append(line(run.samples.id[sample], "id"), line(run.samples.target[sample], "target"));
  if (list.keys) words.append(line(key === null ? "no score" : shownNumber(key), "key"));
  row.append(...list.pair(sample).map((picture) => thumb(picture, "")), words);
  return row;
};

const shownNumber = (value) => (Math.abs(value) >= INFINITE ? "∞" : String(Number(value.toPrecision(4))).replace("-", "−"));

const drawList = (chosen) => {
  const box = byId("list");
  const rows = byId("list-rows");
  const from = Math.max(0, Math.floor(box.scrollTop / ROW) - MARGIN);
  const to = Math.min(list.order.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + MARGIN);
  rows.replaceChildren(...list.order.slice(from, to).map((sample, index) => rowOf(sample, from + index, chosen)));
  const there = byId(`row-${chosen}`);
  if (there) box.setAttribute("aria-activedescendant", there.id);
  else box.removeAttribute("aria-activedescendant");
};

const reveal = (sample) => {
  const place = list.order.indexOf(sample);
  const box = byId("list");
  if (place < 0) return;
  if (place * ROW < box.scrollTop) box.scrollTop = place * ROW;
  else if ((place + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (place + 1) * ROW - box.clientHeight;
};
