"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const gunzip = async (id) => {
    const bytes = Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const { table } = JSON.parse(await gunzip("data"));
  const element = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  // ---------------------------------------------------------------- downloads
  // A spreadsheet runs cells that start with = + - @: a quote in front keeps text as text.
  const csvCell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    let text = String(value);
    if (/^[=+\-@\t\r]/.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const toCsv = (header, rows) =>
    [header, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
  const save = (name, type, text) => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // ---------------------------------------------------------------- the table of scores
  const scores = $("scores");
  const roleWords = { in_domain: "In-domain", out_of_domain: "Out-of-domain", "": "No role" };
  const roles = Object.keys(roleWords).filter((role) => table.datasets.some((d) => d.role === role));
  // Over the data sets on which any model was scored: a transferred probe has no score at home.
  let scored = [];
  const mean = (row, places) => {
    const values = places.filter((i) => scored[i]).map((i) => row[i]?.[0] ?? null);
    return values.length && values.every((v) => v !== null)
      ? values.reduce((a, b) => a + b, 0) / values.length : null;
  };
  const places = (role) => table.datasets.flatMap((d, i) => (role === undefined || d.role === role ? [i] : []));
  // The columns of the chosen role, or of all: a mean over each group of several, then its data sets.
  let columns = [];
  let groups = [];
  const choose = (chosen) => {
    const shownRoles = roles.filter((role) => chosen === "" || role === chosen.slice(1));
    columns = [];
    groups = [];
    if (shownRoles.length > 1) columns.push({ title: "Mean", value: (row) => mean(row, places()) });
    for (const role of shownRoles) {
      const own = places(role);
      const start = columns.length;
      if (own.length > 1) columns.push({ title: "Mean", value: (row) => mean(row, own) });
      for (const i of own)
        columns.push({ title: table.datasets[i].name, dataset: table.datasets[i], cell: (row) => row[i], value: (row) => row[i]?.[0] ?? null });
      columns[start].first = true;
      groups.push([roleWords[role], columns.length - start]);
    }
  };
  const metric = () => table.metrics[$("metric").value];
  const itsMetric = () => table.of_metrics[metric()];
  const lower = () => itsMetric().lower; // less is better
  const write = (x) => (itsMetric().percent ? 100 * x : x).toFixed(itsMetric().digits);
  // The best first, models by name; turned round by a second click.
  const sort = { column: 0, turned: false };
  const down = () => (sort.column >= 0 && !lower()) !== sort.turned;

  const shown = () => {
    const text = $("find").value.trim().toLowerCase();
    const cells = table.cells[$("variant").value][$("metric").value] ?? [];
    scored = table.datasets.map((_, i) => cells.some((row) => row?.[i]));
    const rows = table.models.map((model, i) => ({ model, cells: cells[i] ?? [] })).filter(({ model }) =>
      ["family", "backbone", "supervision"].every((f) => !$(f).value || model[f] === $(f).value.slice(1)) &&
      (!text || Object.values(model).some((v) => v.toLowerCase().includes(text))));
    const key = sort.column < 0 ? (row) => row.model.name : (row) => columns[sort.column].value(row.cells);
    return rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      const order = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
      return down() ? -order : order;
    });
  };

  const heading = (title, index, dataset) => {
    const th = element("th", undefined, { scope: "col" });
    const button = element("button", title, { type: "button" });
    button.addEventListener("click", () => {
      if (sort.column === index) sort.turned = !sort.turned;
      else Object.assign(sort, { column: index, turned: false });
      draw();
    });
    th.append(button);
    if (dataset)
      for (const [n, noun] of [[dataset.n_test, "images"], [dataset.n_classes, "classes"]])
        if (n) th.append(element("small", `${n.toLocaleString("en")} ${noun}`));
    if (dataset?.shift) th.title = `shift: ${dataset.shift}`;
    return th;
  };
  let head;
  const drawHead = () => {
    const over = element("tr");
    over.append(element("td", "", { colspan: 1 + (roles.length > 1 && groups.length > 1) }));
    for (const [title, span] of groups) over.append(element("th", title, { colspan: span, scope: "colgroup", class: "first" }));
    head = element("tr");
    head.append(heading("Model", -1), ...columns.map((c, i) => heading(c.title, i, c.dataset)));
    columns.forEach((c, i) => c.first && head.children[i + 1].classList.add("first"));
    scores.querySelector("thead").replaceChildren(over, head);
  };

  // What a model saw of a data set before it was tested there: a mark beside the score, in words below.
  const MARKS = ["†", "‡", "§"];
  const kinds = [...new Set(Object.values(table.seen).flatMap((of) => Object.values(of)))].sort();
  const seenOn = (model, dataset) => (dataset && table.seen[model]?.[dataset.name]) ?? "";
  const seenMark = (words) => element("sup", MARKS[kinds.indexOf(words)], { class: "seen", role: "img", "aria-label": words, title: words });

  const MOST = 200; // rows drawn before all are asked for: thousands make a slow page
  let all = false;
  const draw = () => {
    const rows = shown();
    const best = columns.map((c) => {
      const values = rows.map((r) => c.value(r.cells)).filter((v) => v !== null);
      return values.reduce((a, b) => (lower() ? Math.min(a, b) : Math.max(a, b)), values[0]);
    });
    const intervals = rows.some((row) => row.cells.some((cell) => cell && cell[1] !== null));
    const drawn = all ? rows : rows.slice(0, MOST);
    const marked = new Set();
    const body = drawn.map(({ model, cells }) => {
      const tr = element("tr");
      const name = element("div", model.name);
      name.append(element("small", [model.family, model.backbone, model.supervision.replace("_", "-")]
        .filter((word) => word !== "unknown").join(" · ")));
      tr.append(element("th", undefined, { scope: "row" }));
      tr.firstChild.append(name);
      columns.forEach((column, i) => {
        const value = column.value(cells);
        const td = element("td", value === null ? "–" : write(value));
        if (value === null)
          td.title = column.dataset
            ? `not scored by ${$("metric").selectedOptions[0].text}, with what is chosen above`
            : "a mean needs a score on each of its data sets";
        if (value !== null && value === best[i]) td.classList.add("top");
        if (column.first) td.classList.add("first");
        const seen = value === null ? "" : seenOn(model.name, column.dataset);
        if (seen) {
          td.append(seenMark(seen));
          marked.add(seen);
        }
        const cell = column.cell?.(cells);
        if (cell && intervals) td.append(element("small", cell[1] === null ? "no interval" : `${write(cell[1])}–${write(cell[2])}`));
        tr.append(td);
      });
      return tr;
    });
    if (!body.length) {
      const tr = element("tr");
      tr.append(element("td", "No model matches these filters.", { colspan: columns.length + 1, class: "text soft" }));
      body.push(tr);
    }
    scores.querySelector("tbody").replaceChildren(...body);
    [...head.children].forEach((th, i) =>
      i - 1 === sort.column ? th.setAttribute("aria-sort", down() ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
    const hidden = rows.length - drawn.length;
    $("shown").textContent = `${rows.length} of ${table.models.length} models${hidden ? `, ${drawn.length} shown` : ""}`;
    $("scores-all").hidden = !hidden;
    const told = kinds.filter((words) => marked.has(words)).map((words) => `${MARKS[kinds.indexOf(words)]} ${words}`);
    $("scores-seen").textContent = told.length ? `What the model saw of the column’s data set: ${told.join("; ")}.` : "";
  };

  const options = (id, pairs) => $(id).append(...pairs.map(([value, text]) => element("option", text, { value })));
  options("metric", table.metrics.map((m, i) => [i, table.of_metrics[m].label]));
  options("variant", table.variants.map((v, i) => [i, v.label + (v.headline ? " (headline)" : "")]));
  for (const field of ["family", "backbone", "supervision"]) {
    // "=" in front tells the empty word from "any".
    const words = [...new Set(table.models.map((m) => m[field]))].sort();
    options(field, [["", "any"], ...words.map((w) => ["=" + w, w.replace("self_supervised", "self-supervised")])]);
  }
  $("variant").value = table.first; // what the answer is by
  for (const id of ["variant", "metric", "family", "backbone", "supervision"]) $(id).addEventListener("change", draw);
  $("find").addEventListener("input", draw);
  $("scores-all").addEventListener("click", () => {
    all = true;
    draw();
  });
  $("scores-csv").addEventListener("click", () => {
    const header = ["model", "family", "backbone", "method", "supervision", "variant", "metric", "dataset", "role", "seen", "value", "ci_low", "ci_high"];
    const rows = shown().flatMap(({ model, cells }) => table.datasets.map((d, i) => [
      model.name, model.family, model.backbone, model.method, model.supervision,
      table.variants[$("variant").value].name, metric(), d.name, d.role, seenOn(model.name, d), ...(cells[i] ?? [null, null, null])]));
    save("scores.csv", "text/csv", toCsv(header, rows));
  });
  options("role", [["", "all"], ...roles.map((r) => ["=" + r, roleWords[r].toLowerCase()])]);
  $("role").addEventListener("change", () => {
    choose($("role").value);
    Object.assign(sort, { column: 0, turned: false });
    drawHead();
    draw();
  });
  choose("");
  drawHead();
  draw();

  // ---------------------------------------------------------------- figures
  const figures = JSON.parse(await gunzip("figures"));
  // Rows are stored by column, each text once.
  const unpack = (packed) => {
    const names = Object.keys(packed);
    const at = names.map((name) => {
      const { words, codes } = packed[name];
      return words ? (i) => words[codes[i]] : (i) => packed[name][i];
    });
    const first = packed[names[0]];
    return Array.from({ length: (first.codes ?? first).length }, (_, i) =>
      Object.fromEntries(names.map((name, k) => [name, at[k](i)])));
  };
  // Vega is unpacked when the first figure is drawn; the page's policy knows it by its digest.
  let vega;
  const ready = () => vega ??= (async () => document.head.append(element("script", await gunzip("vega"))))();
  const views = {};
  const steered = (select, name) => {
    const wanted = select.dataset.figure; // a name, or with "_" at its end how names begin
    return name === wanted || (wanted.endsWith("_") && name.startsWith(wanted));
  };
  const selects = [...document.querySelectorAll("select[data-figure]")];
  const drawFigure = (name) => views[name] ??= (async () => {
    await ready();
    const { spec, rows } = figures[name];
    const { view } = await vegaEmbed($(name), { ...spec, datasets: { rows: unpack(rows) } }, {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" },
      config: { aria: false }, // one image, with a text of its own
    });
    $(name).setAttribute("role", "img");
    $(name).setAttribute("aria-label", $(name).dataset.title);
    $(name).removeAttribute("aria-roledescription");
    // Its parts have no words of their own, and would be read one by one.
    for (const node of $(name).querySelectorAll("svg")) node.setAttribute("aria-hidden", "true");
    for (const select of selects.filter((s) => steered(s, name))) view.signal(select.dataset.signal, select.value);
    await view.runAsync();
    $(name).dataset.drawn = "yes";
    return view;
  })();
  // A figure's place is kept before it is drawn, as high as it will be but for the legend.
  for (const name of Object.keys(figures)) {
    const height = figures[name].spec.height;
    if ($(name) && typeof height === "number") $(name).style.minHeight = `${height + 60}px`;
  }
  for (const name of Object.keys(figures)) {
    const figure = $(name)?.closest("figure");
    if (!figure) continue;
    figure.querySelector("[data-save=svg]").addEventListener("click", async () => {
      const svg = await (await drawFigure(name)).toSVG();
      save(`${name}.svg`, "image/svg+xml", svg.replace("<svg ", '<svg style="background:#fff" '));
    });
    figure.querySelector("[data-save=csv]").addEventListener("click", () => {
      const rows = unpack(figures[name].rows);
      const header = Object.keys(rows[0]);
      save(`${name}.csv`, "text/csv", toCsv(header, rows.map((row) => header.map((h) => row[h]))));
    });
  }
  for (const select of selects)
    select.addEventListener("change", async () => {
      for (const name of Object.keys(views).filter((n) => steered(select, n)))
        await (await views[name]).signal(select.dataset.signal, select.value).runAsync();
    });
  // Drawn when they come near the window, or all before printing.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      watcher.unobserve(entry.target);
      drawFigure(entry.target.id);
    }
  }, { rootMargin: "600px" });
  for (const name of Object.keys(figures)) if ($(name)) watcher.observe($(name));
  addEventListener("beforeprint", () => Object.keys(figures).filter($).forEach(drawFigure));
  // A link lands where it points: what stands above is drawn first, as it may grow by that.
  const land = async () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    const above = Object.keys(figures).filter((name) =>
      $(name) && $(name).compareDocumentPosition(target) & Node.DOCUMENT_POSITION_FOLLOWING);
    await Promise.all(above.map(drawFigure));
    target.scrollIntoView();
    document.documentElement.dataset.landed = location.hash;
  };
  addEventListener("hashchange", land);
  land();
  document.documentElement.dataset.ready = "yes";
})();
