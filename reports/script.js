"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

all("table.sortable").forEach((table) => {
  const heads = all("thead th", table);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = head.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((h) => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const key = (row) => row.children[column].dataset.sort;
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const numbers = !Number.isNaN(+a) && !Number.isNaN(+b);
      return sign * (numbers ? a - b : a.localeCompare(b));
    };
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => compare(key(a), key(b))).forEach((row) => body.append(row));
  }));
});

all(".filter[data-filters]").forEach((group) => {
  const buttons = all("button", group);
  buttons.forEach((button) => button.addEventListener("click", () => {
    buttons.forEach((b) => {
      b.classList.toggle("on", b === button);
      b.setAttribute("aria-pressed", b === button);
    });
    const wanted = button.dataset.category;
    all(group.dataset.filters).forEach((s) => { s.hidden = wanted !== "*" && s.dataset.category !== wanted; });
  }));
  if ("long" in group.dataset) buttons[1].click();
});

const viewer = byId("viewer");
let shown = null;
let against = "source";

const slide = () => {
  const at = byId("viewer-slide").value;
  byId("viewer-over").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
  byId("viewer-line").style.left = `${at}%`;
};

const show = (picture) => {
  shown = picture;
  const image = picture.querySelector("img");
  const other = (kind) => all(".originals .picture", picture.closest(".sample")).find((p) => p.dataset.kind === kind);
  const kinds = ["source", "ground truth"].filter((kind) => other(kind));
  const kind = kinds.includes(against) ? against : kinds[0];
  const partner = other(kind);
  const compare = Boolean(partner) && partner !== picture;
  const under = byId("viewer-under");
  const over = byId("viewer-over");
  under.src = image.src;
  under.className = image.className;
  if (compare) {
    over.src = partner.querySelector("img").src;
    over.className = partner.querySelector("img").className;
  }
  [over, byId("viewer-line"), byId("viewer-slide"), byId("viewer-left")].forEach((part) => { part.hidden = !compare; });
  byId("viewer-with").hidden = !compare || kinds.length < 2;
  all("#viewer-with button").forEach((b) => b.classList.toggle("on", b.dataset.with === kind));
  byId("viewer-title").textContent = picture.dataset.title;
  byId("viewer-note").textContent = picture.dataset.note;
  byId("viewer-left").textContent = kind;
  byId("viewer-right").textContent = picture.dataset.kind;
  slide();
  if (!viewer.open) viewer.showModal();
};

all("button.picture").forEach((picture) => picture.addEventListener("click", () => show(picture)));
all("#viewer-with button").forEach((button) => button.addEventListener("click", () => {
  against = button.dataset.with;
  show(shown);
}));
byId("viewer-slide").addEventListener("input", slide);
byId("viewer-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const row = all("button.picture", shown.closest(".strip"));
  const next = row[row.indexOf(shown) + step];
  if (next) show(next);
});
