"use strict";
(() => {
  const table = document.querySelector("table.board");
  if (!table) return;
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const raw = row.cells[column].dataset.value;
    return raw === undefined ? row.cells[column].dataset.text ?? "" : raw === "" ? null : Number(raw);
  };
  const sort = (column, descending) => {
    const rows = [...body.rows].map((row, place) => [value(row, column), place, row]);
    rows.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
      return (descending ? -order : order) || i - j;
    });
    body.append(...rows.map(([, , row]) => row));
    heads.forEach((head, k) => {
      if (k === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(column, now ? now === "ascending" : head.dataset.first === "descending");
    });
  });
})();
