"use strict";
// Charts in the theme's colours, a legend that hides lines, choices of what to see, tables that sort.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const fine = matchMedia("(pointer: fine)").matches;
  const hidden = new Set();

  const painted = (value, style) => {
    if (Array.isArray(value)) return value.map((each) => painted(each, style));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, painted(each, style)]));
    const name = typeof value === "string" && /^var\((--[a-z0-9-]+)\)$/.exec(value);
    return name ? style.getPropertyValue(name[1]).trim() : value;
  };

  // A chart may leave it to selects, by their ids, which of its traces are shown, and with what layout.
  // What it says of a narrow page comes last.
  const chosen = ({ data, layout, choices = {}, narrow = {} }) => {
    const lay = (changes) => {
      for (const [key, value] of Object.entries(changes))
        layout[key] = Array.isArray(value) || typeof value !== "object" ? value : { ...layout[key], ...value };
    };
    let shown = data.map((_, place) => place);
    for (const [id, options] of Object.entries(choices)) {
      const choice = options[document.getElementById(id).value];
      shown = shown.filter((place) => choice.traces.includes(place));
      lay(choice.layout ?? {});
    }
    if (innerWidth < 640) lay(narrow);
    return { data: shown.map((place) => data[place]), layout };
  };

  // What a cell says of the two names that it stands for, which would fill a page if it were written out.
  const named = (trace) => {
    const names = trace.meta?.pairs;
    if (names)
      trace.text = names.map((one) => names.map((other) => (one === other ? `${one}, recognised` : `${one} taken for ${other}`)));
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const font = getComputedStyle(document.body).fontFamily;
    for (const [name, chart] of Object.entries(charts)) {
      const place = document.getElementById(name);
      if (!place) continue;
      const { data, layout } = chosen(painted(chart, style));
      for (const trace of data) {
        if (hidden.has(trace.meta)) trace.visible = false;
        named(trace);
      }
      layout.font.family = font;
      layout.dragmode = fine ? "zoom" : false;
      if (!fine) for (const axis of [layout.xaxis, layout.yaxis]) axis.fixedrange = true;
      layout.hoverlabel.bgcolor = style.getPropertyValue("--raised").trim();
      layout.hoverlabel.bordercolor = style.getPropertyValue("--rule").trim();
      layout.hoverlabel.font = { color: style.getPropertyValue("--ink").trim(), family: font };
      Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
    }
  };
  draw();
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", draw);

  for (const button of document.querySelectorAll(".legend button"))
    button.addEventListener("click", () => {
      const group = Number(button.dataset.group);
      if (!hidden.delete(group)) hidden.add(group);
      button.setAttribute("aria-pressed", String(!hidden.has(group)));
      draw();
    });

  for (const chart of Object.values(charts))
    for (const id of Object.keys(chart.choices ?? {})) document.getElementById(id)?.addEventListener("change", draw);

  // Galleries: a card knows its place in each choice that it belongs to.
  for (const gallery of document.querySelectorAll("[data-chosen-by]")) {
    const selects = gallery.dataset.chosenBy.split(" ").map((id) => document.getElementById(id));
    const choose = () => {
      const wanted = selects.map((select) => select.value).join(" ");
      const cards = [...gallery.children].map((card) => [JSON.parse(card.dataset.places)[wanted], card]);
      for (const [place, card] of cards) card.hidden = place === undefined;
      gallery.append(...cards.filter(([place]) => place !== undefined).sort(([one], [other]) => one - other).map(([, card]) => card));
    };
    for (const select of selects) select.addEventListener("change", choose);
    choose();
  }

  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === "" || isNaN(text) ? text : Number(text);
  };
  const compared = (one, other) => {
    const [first, second] = [typeof one === "number", typeof other === "number"];
    if (first && second) return one - other;
    return first !== second ? (first ? -1 : 1) : one.localeCompare(other, undefined, { numeric: true });
  };
  for (const button of document.querySelectorAll("th button"))
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const table = head.closest("table");
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const each of head.parentNode.cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sign = ascending ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, head.cellIndex), row]);
      // What is missing stays below, whichever way the rest is sorted.
      rows.sort(([one], [other]) => (one === "") - (other === "") || sign * compared(one, other));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
})();
