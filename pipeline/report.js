"use strict";
(() => {
  const { table, figures } = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
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
  const inside = table.datasets.filter((d) => d.role === "in_domain").length;
  const columns = [{ title: "Mean", value: (row) => mean(row, 0, table.datasets.length) }];
  if (inside > 1) columns.push({ title: "Mean", value: (row) => mean(row, 0, inside), first: true });
  table.datasets.forEach((dataset, i) => {
    if (i === inside && table.datasets.length - inside > 1)
      columns.push({ title: "Mean", value: (row) => mean(row, inside, table.datasets.length), first: true });
    const first = (i === 0 && inside <= 1) || (i === inside && table.datasets.length - inside <= 1);
    columns.push({ title: dataset.name, dataset, cell: (row) => row[i], value: (row) => row[i]?.[0] ?? null, first });
  });
  function mean(row, from, to) {
    const values = row.slice(from, to).map((cell) => cell?.[0] ?? null);
    return values.length && values.every((v) => v !== null)
      ? values.reduce((a, b) => a + b, 0) / values.length : null;
  }
  const sort = { column: 0, down: true };
  const percent = (x) => (100 * x).toFixed(1);

  const shown = () => {
    const text = $("find").value.trim().toLowerCase();
    const cells = table.cells[$("variant").value][$("metric").value];
    const rows = table.models.map((model, i) => ({ model, cells: cells[i] })).filter(({ model }) =>
      ["family", "backbone", "supervision"].every((f) => !$(f).value || model[f] === $(f).value.slice(1)) &&
      (!text || Object.values(model).some((v) => v.toLowerCase().includes(text))));
    const key = sort.column < 0 ? (row) => row.model.name : (row) => columns[sort.column].value(row.cells);
    return rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      const order = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
      return sort.down ? -order : order;
    });
  };

  const heading = (title, index, dataset) => {
    const th = element("th", undefined, { scope: "col" });
    const button = element("button", title, { type: "button" });
    button.addEventListener("click", () => {
      if (sort.column === index) sort.down = !sort.down;
      else Object.assign(sort, { column: index, down: index >= 0 });
      draw();
    });
    th.append(button);
    if (dataset)
      th.append(element("small", `${dataset.n_test.toLocaleString("en")} images`), element("small", `${dataset.n_classes} classes`));
    if (dataset?.shift) th.title = `shift: ${dataset.shift}`;
    return th;
  };
  const groups = element("tr");
  groups.append(element("th", "", { colspan: 2 }));
  const outside = table.datasets.length - inside;
  const span = (n) => n + (n > 1);
  if (inside) groups.append(element("th", "In-domain", { colspan: span(inside), class: "first" }));
  if (outside) groups.append(element("th", "Out-of-domain", { colspan: span(outside), class: "first" }));
  const head = element("tr");
  head.append(heading("Model", -1), ...columns.map((c, i) => heading(c.title, i, c.dataset)));
  columns.forEach((c, i) => c.first && head.children[i + 1].classList.add("first"));
  scores.querySelector("thead").replaceChildren(groups, head);

  const draw = () => {
    const rows = shown();
    const best = columns.map((c) => Math.max(...rows.map((r) => c.value(r.cells) ?? -1)));
    const body = rows.map(({ model, cells }) => {
      const tr = element("tr");
      const name = element("div", model.name);
      name.append(element("small", `${model.family} · ${model.backbone} · ${model.supervision.replace("_", "-")}`));
      tr.append(element("th", undefined, { scope: "row" }));
      tr.firstChild.append(name);
      columns.forEach((column, i) => {
        const value = column.value(cells);
        const td = element("td", value === null ? "–" : percent(value));
        if (value === null) td.title = "not scored";
        if (value !== null && value === best[i]) td.classList.add("top");
        if (column.first) td.classList.add("first");
        const cell = column.cell?.(cells);
        if (cell) td.append(element("small", cell[1] === null ? "no interval" : `${percent(cell[1])}–${percent(cell[2])}`));
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
      i - 1 === sort.column ? th.setAttribute("aria-sort", sort.down ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
    $("shown").textContent = `${rows.length} of ${table.models.length} models`;
  };

  const options = (id, pairs) => $(id).append(...pairs.map(([value, text]) => element("option", text, { value })));
  const metricWords = { top1: "top-1", top5: "top-5", mean_per_class: "mean per class" };
  options("metric", table.metrics.map((m, i) => [i, metricWords[m] ?? m]));
  options("variant", table.variants.map((v, i) => [i, v.label + (v.headline ? " (headline)" : "")]));
  for (const field of ["family", "backbone", "supervision"]) {
    // "=" in front tells the empty word from "any".
    const words = [...new Set(table.models.map((m) => m[field]))].sort();
    options(field, [["", "any"], ...words.map((w) => ["=" + w, w.replace("self_supervised", "self-supervised")])]);
  }
  for (const id of ["variant", "metric", "family", "backbone", "supervision"]) $(id).addEventListener("change", draw);
  $("find").addEventListener("input", draw);
  $("scores-csv").addEventListener("click", () => {
    const header = ["model", "family", "backbone", "method", "supervision", "variant", "metric", "dataset", "role", "value", "ci_low", "ci_high"];
    const rows = shown().flatMap(({ model, cells }) => table.datasets.map((d, i) => [
      model.name, model.family, model.backbone, model.method, model.supervision,
      table.variants[$("variant").value].name, table.metrics[$("metric").value], d.name, d.role, ...(cells[i] ?? [null, null, null])]));
    save("scores.csv", "text/csv", toCsv(header, rows));
  });
  draw();

  // ---------------------------------------------------------------- figures
  const views = {};
  const names = Object.keys(figures);
  const drawn = names.map(async (name) => {
    const { spec, rows } = figures[name];
    const { view } = await vegaEmbed($(name), { ...spec, datasets: { rows } }, {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" },
    });
    views[name] = view;
    const figure = $(name).closest("figure");
    figure.querySelector("[data-save=svg]").addEventListener("click", async () =>
      save(`${name}.svg`, "image/svg+xml", (await view.toSVG()).replace("<svg ", '<svg style="background:#fff" ')));
    figure.querySelector("[data-save=csv]").addEventListener("click", () => {
      const header = Object.keys(rows[0]);
      save(`${name}.csv`, "text/csv", toCsv(header, rows.map((row) => header.map((h) => row[h]))));
    });
  });
  const steer = (id, signal, prefix) => $(id)?.addEventListener("change", (event) => {
    for (const name of names.filter((n) => n.startsWith(prefix))) views[name].signal(signal, event.target.value).runAsync();
  });
  Promise.all(drawn).then(() => {
    steer("coefficient", "coefficient", "correlation");
    steer("x_set", "x_set", "scatter_");
    steer("y_set", "y_set", "scatter_");
    document.documentElement.dataset.ready = "yes";
  });
})();
