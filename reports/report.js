// What a page of recipelang does beyond showing itself: it sorts, filters and folds, and says what a point of a chart is.
// Without it the page holds the same, since everything is in its text. It reads the page and nothing else.
"use strict";
(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const body = find("#rows");
  const rows = body ? [...body.rows] : [];
  const said = find("#count");
  const opening = said ? said.textContent : "";

  // --- filtering ---------------------------------------------------------------------------------------------------
  const words = new Map(rows.map((row) => [row, row.cells[0].textContent.toLowerCase()]));
  const of = new Map(rows.map((row) => [row, (row.dataset.of || "").split(" ")]));
  const search = find("#find");
  const choices = all("select[data-parameter]");
  const boxes = all(".toggles input");

  const wanted = (row, asked, chosen) =>
    asked.every((word) => words.get(row).includes(word)) &&
    chosen.every(([place, value]) => of.get(row)[place] === value);

  const shown = () => rows.filter((row) => row.offsetParent !== null);

  function filter() {
    const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = choices.filter((c) => c.value !== "").map((c) => [Number(c.dataset.parameter), c.value]);
    for (const row of rows) row.hidden = !wanted(row, asked, chosen);
    const left = shown();
    const names = new Set(left.map((row) => row.id));
    for (const point of all("[data-row]")) {
      const row = document.getElementById(point.dataset.row);
      point.classList.toggle("faded", rows.includes(row) && !names.has(row.id));
    }
    const all_shown = left.length === rows.length && !opening;
    say(all_shown ? "" : `${left.length} of ${rows.length} networks are shown.`);
  }

  function say(text) {
    if (said && said.textContent !== text) said.textContent = text;
  }

  // --- sorting -----------------------------------------------------------------------------------------------------
  const byName = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const place = new Map(rows.map((row, i) => [row, i]));
  const heads = all(".comparison thead th");

  function compare(column, better) {
    if (better === "name") return (a, b) => byName.compare(words.get(a), words.get(b));
    const value = (row) => {
      const text = row.cells[column] && row.cells[column].dataset.v;
      return text ? Number(text) : NaN;
    };
    return (a, b) => value(a) - value(b);
  }

  function sort(head) {
    const better = head.dataset.better;
    const column = heads.indexOf(head);
    const first = better === "higher" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const now = head.getAttribute("aria-sort");
    const next = now === null ? first : now === first ? second : null;
    for (const other of heads) other.removeAttribute("aria-sort");
    let order = (a, b) => place.get(a) - place.get(b);
    if (next) {
      head.setAttribute("aria-sort", next);
      const by = compare(column, better);
      const sign = next === "ascending" ? 1 : -1;
      const none = (row) => better !== "name" && Number.isNaN(by(row, row));
      const plain = order;
      order = (a, b) => none(a) - none(b) || (none(a) ? 0 : sign * by(a, b)) || plain(a, b);
    }
    body.append(...[...rows].sort(order));
    const name = head.dataset.name;
    say(next ? `Sorted by ${name}, ${next}.` : "In the order of the recipe.");
  }

  for (const head of heads) {
    head.dataset.name = head.firstChild.textContent.trim();
    const button = document.createElement("button");
    button.type = "button";
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.ariaHidden = "true";
    const [name, ...rest] = head.childNodes;
    button.append(name, arrow, ...rest);
    button.addEventListener("click", () => sort(head));
    head.append(button);
  }

  // --- copying -----------------------------------------------------------------------------------------------------
  function markdown() {
    const text = (node) => node.textContent.replace(/\s+/g, " ").trim().replace(/[\\|`*_<>\[\]]/g, "\\$&");
    const cell = (td) => {
      const value = td.querySelector(".value");
      if (!value) return text(td);
      const change = td.querySelector(".line:not(.beside) .change");
      const shown = change ? `${text(value)}, ${text(change)}` : text(value);
      return td.classList.contains("best") ? `**${shown}**` : shown;
    };
    const name = (th) => text(th.querySelector("a") || th.firstChild);
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const visible = all(".comparison tbody tr").filter((row) => row.offsetParent !== null);
    return [
      line(heads.map((head) => head.dataset.name.replace(/[\\|`*_<>\[\]]/g, "\\$&"))),
      line(heads.map((_, i) => (i ? "---:" : "---"))),
      ...visible.map((row) => line([...row.cells].map((td, i) => (i ? cell(td) : name(td))))),
    ].join("\n");
  }

  async function copy() {
    const text = markdown();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // where the page has no clipboard of its own: in a frame
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say("The table is in the clipboard, as Markdown.");
  }

  // --- points of charts ----------------------------------------------------------------------------------------------
  const tip = find("#tip");

  function light(id, on) {
    const row = document.getElementById(id);
    if (row) row.classList.toggle("lit", on);
    for (const point of all(`[data-row="${CSS.escape(id)}"]`)) point.classList.toggle("lit", on);
  }

  function tell(point) {
    tip.textContent = point.dataset.tip;
    tip.hidden = false;
    const at = point.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = at.top - size.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : at.bottom + 8}px`;
    if (point.dataset.row) light(point.dataset.row, true);
  }

  function untell(point) {
    tip.hidden = true;
    if (point && point.dataset.row) light(point.dataset.row, false);
  }

  // One point of each chart is in the order of the Tab key; arrows go on from it.
  for (const chart of all("svg.chart")) {
    const points = all("[data-tip]", chart);
    if (!points.length) continue;
    chart.setAttribute("role", "group");
    points.forEach((point, i) => {
      point.setAttribute("role", "img");
      point.setAttribute("aria-label", point.dataset.tip);
      point.setAttribute("tabindex", i ? "-1" : "0");
    });
    chart.addEventListener("keydown", (event) => {
      const now = points.indexOf(event.target.closest("[data-tip]"));
      const to = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1,
        Home: 0, End: points.length - 1 }[event.key];
      if (to !== undefined && points[to]) {
        event.preventDefault();
        points[now].setAttribute("tabindex", "-1");
        points[to].setAttribute("tabindex", "0");
        points[to].focus();
      } else if (event.key === "Enter" && points[now].dataset.row) {
        go(points[now].dataset.row);
      }
    });
  }
  const pointOf = (event) => event.target.closest && event.target.closest("[data-tip]");
  for (const [begin, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(begin, (event) => { const point = pointOf(event); if (point) tell(point); });
    document.addEventListener(end, (event) => { const point = pointOf(event); if (point) untell(point); });
  }
  document.addEventListener("click", (event) => {
    const point = pointOf(event);
    if (point && point.dataset.row) go(point.dataset.row);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") untell(null); });
  addEventListener("scroll", () => untell(null), { passive: true, capture: true });
  for (const row of all(".comparison tbody tr")) {
    row.addEventListener("pointerenter", () => light(row.id, true));
    row.addEventListener("pointerleave", () => light(row.id, false));
  }

  // --- folding and going to places -------------------------------------------------------------------------------------
  function reveal(target) {
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (target.matches("tr") && target.offsetParent === null) {
      search.value = "";
      for (const choice of choices) choice.value = "";
      for (const box of all("#show-dominated, #show-failed, #show-references")) box.checked = true;
      filter();
    }
  }

  function go(id) {
    if (location.hash === `#${id}`) arrive();
    else location.hash = id;
  }

  function arrive() {
    const target = location.hash && document.getElementById(location.hash.slice(1)); // our ids need no decoding
    if (!target) return;
    reveal(target);
    target.scrollIntoView({ block: target.matches("tr, li") ? "center" : "start" });
  }
  addEventListener("hashchange", arrive);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });

  // --- contents -------------------------------------------------------------------------------------------------------
  function contents() {
    const nav = find("#contents");
    for (const heading of all("h2[id]")) {
      const link = document.createElement("a");
      link.href = `#${heading.id}`;
      link.textContent = heading.textContent;
      nav.append(link, " ");
    }
    const button = document.createElement("button");
    button.type = "button";
    const parts = () => all("main details:not(.numbers, .edits, .became, .layers)");
    const label = () => { button.textContent = parts().every((part) => part.open) ? "Fold all" : "Unfold all"; };
    button.addEventListener("click", () => {
      const open = button.textContent === "Unfold all";
      for (const part of parts()) part.open = open;
      label();
    });
    label();
    nav.append(button);
    nav.hidden = false;
  }

  // --- start -----------------------------------------------------------------------------------------------------------
  for (const hidden of all(".scripted")) hidden.hidden = false;
  contents();
  if (body) {
    search.addEventListener("input", filter);
    for (const control of [...choices, ...boxes]) control.addEventListener("change", filter);
    find("#copy").addEventListener("click", copy);
    filter();
  }
  arrive();
})();
