// What both views share, and the report: tables, figures, copying, printing.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

/** One tab stop for a group: arrow keys, Home and End move the focus among its items, and `moved` hears of it. */
const rove = (group, find, moved = () => {}) => {
  const stop = (item) => find().forEach((each) => { each.tabIndex = each === item ? 0 : -1; });
  group.addEventListener("focusin", (event) => { if (find().includes(event.target)) stop(event.target); });
  group.addEventListener("keydown", (event) => {
    const items = find();
    const here = items.indexOf(event.target);
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -here, End: items.length - 1 - here }[event.key];
    if (here < 0 || step === undefined) return;
    event.preventDefault();
    const item = items[(here + step + items.length) % items.length];
    stop(item);
    item.focus();
    moved(item);
  });
  stop(find()[0]);
};

/** A group of buttons of which one is chosen. */
const choose = (group, button, attribute) => all("button", group).forEach((each) => each.setAttribute(attribute, each === button));

all("table.sortable").forEach((table) => {
  const heads = all("thead th", table);
  const key = (row, column) => row.children[column].dataset.sort ?? "";
  const compare = (a, b, sign) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const numbers = !Number.isNaN(+a) && !Number.isNaN(+b);
    return sign * (numbers ? a - b : a.localeCompare(b));
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = head.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => compare(key(a, column), key(b, column), sign)).forEach((row) => body.append(row));
  }));
  rove(table.tHead, () => all("button", table.tHead));
});

all(".choice[data-filters]").forEach((group) => {
  const buttons = all("button", group);
  const show = (button) => {
    choose(group, button, "aria-pressed");
    const wanted = button.dataset.category;
    all(group.dataset.filters).forEach((row) => { row.hidden = wanted !== "*" && row.dataset.category !== wanted; });
  };
  buttons.forEach((button) => button.addEventListener("click", () => show(button)));
  rove(group, () => buttons);
  if ("long" in group.dataset) show(buttons[1]);
});

all("figure").forEach((figure) => {
  const drawing = figure.querySelector(".drawing");
  const bands = figure.querySelector(".choice");
  if (bands) {
    const buttons = all("button", bands);
    buttons.forEach((button) => button.addEventListener("click", () => {
      choose(bands, button, "aria-pressed");
      drawing.dataset.bands = button.dataset.bands;
    }));
    rove(bands, () => buttons);
  }
  const points = all(".point", drawing);
  if (!points.length) return;
  const tip = byId("tip");
  const tell = (event) => {
    const point = event.target.closest(".point");
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.getAttribute("aria-label").split("; ").join("\n");
    const box = point.getBoundingClientRect();
    const left = Math.max(6, Math.min(box.right + 10, document.documentElement.clientWidth - tip.offsetWidth - 6));
    tip.style.transform = `translate(${left}px, ${Math.max(6, box.top - tip.offsetHeight - 8)}px)`;
  };
  const open = (event) => {
    const point = event.target.closest(".point");
    if (point && byId("viewer")) window.location.hash = point.dataset.link;
  };
  ["pointerover", "focusin"].forEach((name) => drawing.addEventListener(name, tell));
  ["pointerleave", "focusout"].forEach((name) => drawing.addEventListener(name, () => { tip.hidden = true; }));
  drawing.addEventListener("click", open);
  drawing.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
    if (event.key === "Enter") open(event);
  });
  rove(drawing, () => points);
});

all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
  const text = byId(button.dataset.copy);
  const said = button.textContent;
  window.getSelection().selectAllChildren(text);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected: copy it with your keyboard";
  }
  setTimeout(() => { button.textContent = said; }, 3000);
}));

window.addEventListener("beforeprint", () => all("#report details").forEach((each) => {
  each.dataset.closed = !each.open;
  each.open = true;
}));
window.addEventListener("afterprint", () => all("#report details").forEach((each) => { each.open = each.dataset.closed === "false"; }));
