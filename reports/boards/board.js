"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  const order = (column, sign) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.children[column].dataset.sort);
    if (x === "" || y === "") return (x === "") - (y === "");
    const numbers = !Number.isNaN(+x) && !Number.isNaN(+y);
    return sign * (numbers ? x - y : x.localeCompare(y));
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = head.dataset.first || "ascending";
    const turned = first === "ascending" ? "descending" : "ascending";
    const now = head.getAttribute("aria-sort") === first ? turned : first;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", now);
    const rows = [...table.tBodies[0].rows].sort(order(column, now === "ascending" ? 1 : -1));
    table.tBodies[0].append(...rows);
  }));
}
