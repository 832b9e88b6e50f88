"use strict";
(() => {
  // The best model under the reader's limits. Scores and tests are the study's; this only filters.
  const form = document.getElementById("limits");
  if (!form) return;
  const { models, protocols, datasets, scopes, cells, pairs, chances, alike, by } =
    JSON.parse(document.getElementById("constraints-data").textContent);
  const MOST = 10; // rows that are shown
  const SIZES = { parameters: 1e6, dimension: 1, milliseconds: 1 };
  const WORDS = { parameters: "number of parameters", dimension: "embedding size", milliseconds: "latency" };
  const element = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const percent = (x) => (100 * x).toFixed(1);
  const plain = (x) => x.toLocaleString("en", { maximumSignificantDigits: 3 });
  const whole = (x) => x.toLocaleString("en");

  // ---------------------------------------------------------------- scores
  const used = protocols.map((_, p) => scopes.map(({ datasets: places }) =>
    // A data set that nobody was scored on is not part of a mean (transfer has no score at home).
    // Scores by several metrics have no mean.
    places.filter((d) => cells[p].some((row) => row[d]) && (places.length === 1 || alike[p].includes(d)))));
  const scored = (p, s) => models.map((model, m) => {
    const of = used[p][s].map((d) => cells[p][m][d]);
    if (!of.length || of.includes(null)) return { model, m, value: null };
    if (of.length === 1) return { model, m, value: of[0][0], low: of[0][1], high: of[0][2] };
    return { model, m, value: of.reduce((sum, cell) => sum + cell[0], 0) / of.length };
  });
  const place = (a, b) => { // of a pair above the diagonal, row by row
    const [i, j] = a < b ? [a, b] : [b, a];
    return i * models.length - (i * (i + 1)) / 2 + j - i - 1;
  };
  // Within chance of the best of the models that are left: none of these is known to be better.
  const better = (p, s, one, other) => pairs[p][s] !== "" &&
    pairs[p][s][place(one, other)] === (one < other ? "1" : "2");
  const beside = (p, s, left) => left.map((other, i) => {
    if (i === 0) return "the best";
    // Without a table of pairs: who is within chance of the best of all is so of any of them; who
    // is not, differs from one of all, who may be filtered out.
    const chance = chances[p][s][other];
    if (chance === "1") return "within chance";
    if (chance === "0") return left.length === scored(p, s).filter(({ value }) => value !== null).length ? "differs" : "not tested";
    if (left.some((one) => one !== other && better(p, s, one, other))) return "differs";
    const tested = pairs[p][s] !== "" && pairs[p][s][place(left[0], other)] !== "-";
    return tested ? "within chance" : "not tested";
  });

  // ---------------------------------------------------------------- limits
  const chosen = (name) => form.elements[name].value;
  const limits = () => Object.entries(SIZES)
    .map(([name, unit]) => [name, chosen(name) === "" ? null : Number(chosen(name)) * unit])
    .filter(([, limit]) => limit !== null && !Number.isNaN(limit));
  const within = (model, asked) =>
    ["supervision", "family"].every((word) => !chosen(word) || model[word] === chosen(word).slice(1)) &&
    asked.every(([name, limit]) => model[name] !== null && model[name] <= limit);
  const unknown = (asked) => asked
    .map(([name]) => [name, models.filter((model) => model[name] === null).length])
    .filter(([, count]) => count);

  const options = (name, of) =>
    form.elements[name].replaceChildren(...of.map(([value, text]) => element("option", text, { value })));
  options("protocol", protocols.map((word, p) => [p, word]));
  const offer = () => { // scopes that come to the same data sets, or to none, are left out
    const p = Number(chosen("protocol"));
    const before = chosen("scope");
    const seen = new Set();
    const offered = scopes.map(({ label }, s) => [s, label]).filter(([s]) => {
      const key = used[p][s].join();
      const single = scopes[s].datasets.length === 1;
      if (!key || (!single && (used[p][s].length < 2 || seen.has(key)))) return false;
      seen.add(key);
      return true;
    });
    options("scope", offered);
    if (offered.some(([s]) => String(s) === before)) form.elements.scope.value = before;
  };
  for (const name of ["supervision", "family"]) {
    // "=" in front tells the empty word from "any".
    const words = [...new Set(models.map((model) => model[name]))].sort();
    options(name, [["", "any"], ...words.map((word) => ["=" + word, word.replace("self_supervised", "self-supervised")])]);
    form.elements[name].closest("label").hidden = words.length < 2;
  }
  for (const [name, unit] of Object.entries(SIZES)) {
    const known = models.map((model) => model[name]).filter((x) => x !== null);
    const input = form.elements[name];
    input.closest("label").hidden = !known.length;
    if (known.length) input.placeholder = `${plain(Math.min(...known) / unit)} to ${plain(Math.max(...known) / unit)}`;
  }
  form.elements.protocol.closest("label").hidden = protocols.length < 2;

  // ---------------------------------------------------------------- the answer
  const sentence = (rows, near, p, s, asked) => {
    const parts = [];
    const line = element("p", undefined, { class: "winner" });
    if (!rows.length) {
      line.append(element("strong", "No model with these scores meets all limits."));
    } else {
      const [{ model, value, low, high }] = rows;
      line.append(element("strong", model.name));
      line.append(element("span", typeof low === "number"
        ? `${percent(value)}% (95%: ${percent(low)} to ${percent(high)})` : `${percent(value)}%`));
      parts.push(`Highest score of ${rows.length} of ${models.length} models${
        used[p][s].length > 1 ? `, mean over ${used[p][s].length} data sets` : ` on ${datasets[used[p][s][0]]}`}.`);
      const metric = by[p][used[p][s][0]];
      if (metric) parts.push(`These scores are ${metric}: the page’s metric is not known here.`);
      const gaps = scored(p, s).filter(({ model, value }) => value === null && within(model, asked)).length;
      if (gaps) parts.push(`Without a score on ${used[p][s].length > 1 ? "every one of them" : "it"}: ${gaps}.`);
      if (near.length) parts.push(`Within chance of it: ${near.slice(0, MOST).join(", ")}${near.length > MOST ? ` and ${near.length - MOST} more` : ""}.`);
    }
    for (const [name, count] of unknown(asked))
      parts.push(`Left out as their ${WORDS[name]} is not known: ${count}.`);
    return [line, element("p", parts.join(" "))];
  };
  const draw = () => {
    const p = Number(chosen("protocol"));
    const s = Number(chosen("scope"));
    const asked = limits();
    const rows = scored(p, s).filter(({ model, value }) => value !== null && within(model, asked))
      .sort((a, b) => b.value - a.value);
    const words = beside(p, s, rows.map(({ m }) => m));
    const near = rows.filter((_, i) => words[i] === "within chance").map(({ model }) => model.name);
    document.getElementById("chosen").replaceChildren(...sentence(rows, near, p, s, asked));
    const body = rows.slice(0, MOST).map(({ model, value, low, high }, i) => {
      const tr = element("tr");
      const name = element("th", model.name, { class: "text", scope: "row" });
      name.append(element("small", [model.family, model.supervision.replace("_", "-")]
        .filter((word) => word !== "unknown").join(" · ")));
      const score = element("td", percent(value));
      if (typeof low === "number") score.append(element("small", `${percent(low)}–${percent(high)}`));
      const sizes = Object.entries(SIZES).map(([size, unit]) => element("td",
        model[size] === null ? "–" : size === "dimension" ? whole(model[size]) : plain(model[size] / unit)));
      tr.append(name, score, element("td", words[i], { class: "text" }), ...sizes);
      return tr;
    });
    if (rows.length > MOST) {
      const tr = element("tr");
      tr.append(element("td", `and ${rows.length - MOST} more`, { colspan: 6, class: "text soft" }));
      body.push(tr);
    }
    document.getElementById("within").replaceChildren(...body);
  };
  form.addEventListener("input", (event) => {
    if (event.target.name === "protocol") offer();
    draw();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { offer(); draw(); })); // once it is reset
  offer();
  draw();
})();
