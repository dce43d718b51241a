"use strict";
// Draws the report from the result that the page carries.
(() => {
  const result = JSON.parse(document.getElementById("result").textContent);
  const best = result.recommended.candidate;
  const like = result.recommended.like_others;
  const currency = result.prices.currency;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const time = (us) => us >= 1e7 ? (us / 1e6).toFixed(1) + " s" : us >= 1e5 ? (us / 1e3).toFixed(0) + " ms"
    : (us / 1e3).toFixed(1) + " ms";
  const money = (v) => v > 0 && v < 100 ? v.toFixed(Math.min(12, Math.max(2, 2 - Math.floor(Math.log10(v))))) : v.toFixed(2);
  const percent = (share) => (share * 100).toFixed(0) + " %";
  const count = (n) => n >= 1e6 ? (n / 1e6).toFixed(2) + " M" : n >= 1e4 ? (n / 1e3).toFixed(1) + " k"
    : n >= 100 ? n.toFixed(0) : n.toFixed(1);
  const name = (s) => `batch ${s.batch_size}, window ${s.maximum_batching_window}, ${s.pollers} pollers`;
  const same = (a, b) => name(a) === name(b);

  // ---- tables
  const columns = [
    ["batch size", (e) => e.settings.batch_size, String],
    ["window", (e) => windowMs(e.settings), (_, e) => e.settings.maximum_batching_window],
    ["pollers", (e) => e.settings.pollers, String],
    ["p50 age", (e) => e.age.p50_us, time],
    ["p99 age", (e) => e.age.p99_us, time],
    [`${currency} per million`, (e) => e.cost.per_million_records, money],
    ["invocations/s", (e) => e.invocations_per_s, count],
    ["records a batch", (e) => e.batch_records_mean, count],
    ["full", (e) => Math.max(e.fill_by_records_share, e.fill_by_bytes_share), percent],
    ["busy", (e) => e.busy_share, percent],
    ["capacity/s", (e) => e.capacity_records_per_s, count],
    ["keeps up", (e) => e.keeps_up ? 1 : 0, (v) => v ? "yes" : "no"],
  ];
  function windowMs(settings) {
    const match = /^([\d.]+)(ns|us|ms|s|m|h)$/.exec(settings.maximum_batching_window);
    return match ? Number(match[1]) * { ns: 1e-6, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 }[match[2]] : 0;
  }
  function cell(row, text, tag) {
    const element = document.createElement(tag || "td");
    element.textContent = text;
    row.appendChild(element);
    return element;
  }
  function head(table, names) {
    const row = table.createTHead().insertRow();
    return names.map((text) => cell(row, text, "th"));
  }
  function line(body, evaluation, first) {
    const row = body.insertRow();
    if (first !== undefined) cell(row, first, "th");
    for (const [, value, show] of columns) cell(row, show(value(evaluation), evaluation));
    return row;
  }

  // ---- pinned settings
  const pins = [];
  function pin(label, evaluation) {
    const at = pins.findIndex(([, e]) => same(e.settings, evaluation.settings));
    if (at >= 0) pins.splice(at, 1);
    else pins.push([label, evaluation]);
    showPins();
  }
  function showPins() {
    const table = document.getElementById("pinned");
    table.replaceChildren();
    head(table, ["", ...columns.map(([text]) => text), ""]);
    const body = table.createTBody();
    const rows = [["recommended", like], ["AWS's default", result.aws_default], ...pins];
    rows.forEach(([label, evaluation], number) => {
      const row = line(body, evaluation, label);
      if (number === 0) row.className = "best";
      const last = cell(row, "");
      if (number >= 2) {
        const button = document.createElement("button");
        button.className = "unpin";
        button.textContent = "unpin";
        button.onclick = () => pin(label, evaluation);
        last.appendChild(button);
      }
    });
  }

  // ---- plots
  function layout(more) {
    const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line"), automargin: true };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      margin: { l: 60, r: 15, t: 10, b: 45 }, hovermode: "closest", showlegend: true,
      legend: { orientation: "h", y: 1.12, x: 0 },
      hoverlabel: { align: "left" },
    };
    const merged = Object.assign({}, base, more);
    merged.xaxis = Object.assign({}, axis, more.xaxis);
    merged.yaxis = Object.assign({}, axis, more.yaxis);
    if (more.yaxis2) merged.yaxis2 = Object.assign({}, axis, more.yaxis2);
    return merged;
  }
  const config = { displayModeBar: false, responsive: true };
  const hover = (e) => `${name(e.settings)}<br>p50 ${time(e.age.p50_us)}, p99 ${time(e.age.p99_us)}<br>`
    + `${money(e.cost.per_million_records)} ${currency} per million<br>`
    + `${count(e.batch_records_mean)} records a batch, up to ${count(e.capacity_records_per_s)} a second`;
  function points(list, more) {
    return Object.assign({
      x: list.map((e) => e.cost.per_million_records), y: list.map((e) => e.age.p99_us / 1e3),
      text: list.map(hover), hoverinfo: "text", customdata: list, type: "scatter", mode: "markers",
    }, more);
  }
  function pareto() {
    const kept = result.evaluations.filter((e) => e.keeps_up && e.cost.per_million_records > 0);
    const front = [...result.front].sort((a, b) => a.cost.per_million_records - b.cost.per_million_records);
    const line = [];
    let youngest = Infinity;
    for (const e of front) if (e.age.p99_us < youngest) { line.push(e); youngest = e.age.p99_us; }
    const traces = [
      points(kept, { name: "tried", marker: { color: color("--soft"), size: 6, opacity: .35 } }),
      points(line, { name: "front", mode: "lines+markers", line: { color: color("--poll"), width: 2, shape: "hv" },
        marker: { color: color("--poll"), size: 8 } }),
      points([result.aws_default].filter((e) => e.keeps_up), { name: "AWS's default",
        marker: { color: color("--commit"), size: 13, symbol: "diamond" } }),
      points([like], { name: "recommended", marker: { color: color("--encode"), size: 17, symbol: "star",
        line: { color: color("--paper"), width: 1 } } }),
    ];
    const shapes = [], annotations = [];
    if (result.wanted.age && result.wanted.age.startsWith("p99=")) {
      const limit = windowMs({ maximum_batching_window: result.wanted.age.slice(4) });
      shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: limit, y1: limit,
        line: { color: color("--commit"), dash: "dot", width: 1.5 } });
      annotations.push({ xref: "paper", x: 1, y: Math.log10(limit), yanchor: "bottom", xanchor: "right",
        text: "the goal's limit", showarrow: false, font: { color: color("--commit") } });
    }
    const plot = document.getElementById("pareto");
    Plotly.react(plot, traces, layout({ shapes, annotations,
      xaxis: { title: { text: `${currency} per million records` }, type: "log" },
      yaxis: { title: { text: "p99 record age, ms" }, type: "log" } }), config);
    plot.removeAllListeners("plotly_click");
    plot.on("plotly_click", (event) => {
      const e = event.points[0].customdata;
      pin("pinned", e);
    });
  }
  function ages() {
    const list = result.recommended.ages;
    const traces = (x) => [{ x, y: list.map((a) => a.age_us / 1e3), name: "simulated", mode: "lines",
      line: { color: color("--poll"), width: 2.5 },
      text: list.map((a) => `${+(a.below_share * 100).toPrecision(6)} % are younger than ${time(a.age_us)}`), hoverinfo: "text" }];
    const real = result.runs.find((run) => same(run.settings, best.settings));
    const marks = (place) => real ? [{ x: [.5, .9, .99, .999].map(place), name: "measured in a real run",
      y: ["p50_us", "p90_us", "p99_us", "p999_us"].map((q) => real.real.age[q] / 1e3), mode: "markers",
      marker: { color: color("--encode"), size: 10, symbol: "x" } }] : [];
    const cdf = traces(list.map((a) => a.below_share));
    Plotly.react("cdf", [{ ...cdf[0], x: cdf[0].y, y: list.map((a) => a.below_share * 100) },
      ...marks((q) => q).map((m) => ({ ...m, x: m.y, y: m.x.map((q) => q * 100) }))],
    layout({ xaxis: { title: { text: "record age, ms" }, rangemode: "tozero" }, yaxis: { title: { text: "% of records that are younger" } } }), config);
    const nines = (q) => -Math.log10(Math.max(1 - q, 1e-5));
    const ticks = [0, .9, .99, .999, .9999];
    Plotly.react("nines", [...traces(list.map((a) => nines(a.below_share))), ...marks(nines)],
      layout({ xaxis: { tickvals: ticks.map(nines), ticktext: ["0", "90 %", "99 %", "99.9 %", "99.99 %"], range: [0, 4.2],
        title: { text: "percentile" } }, yaxis: { title: { text: "record age, ms" }, rangemode: "tozero" } }), config);
  }
  function lag() {
    const list = result.recommended.lag;
    Plotly.react("lag", [{ x: list.map((p) => p.at_s), y: list.map((p) => p.lag_records), fill: "tozeroy", mode: "lines",
      name: "records", line: { color: color("--send"), width: 1.5 } }],
    layout({ showlegend: false, xaxis: { title: { text: "s" } }, yaxis: { title: { text: "records" }, rangemode: "tozero" } }), config);
    const colors = [color("--poll"), color("--encode"), color("--send")];
    const traces = result.scaling.flatMap((s, number) => [
      { x: s.seconds.map((_, i) => i), y: s.seconds.map((p) => p.lag_records), name: s.name + ", lag", mode: "lines",
        line: { color: colors[number], width: 2 } },
      { x: s.seconds.map((_, i) => i), y: s.seconds.map((p) => Math.min(p.pollers * s.invocations_per_poller, result.traffic.partitions)), name: s.name + ", invocations at once", mode: "lines",
        yaxis: "y2", line: { color: colors[number], width: 1.5, dash: "dot" } }]);
    Plotly.react("scaling", traces, layout({ xaxis: { title: { text: "s" } },
      yaxis: { title: { text: "records that wait" }, rangemode: "tozero" },
      yaxis2: { title: { text: "invocations at once" }, overlaying: "y", side: "right", rangemode: "tozero", showgrid: false },
      legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0, font: { size: 11 } }, margin: { l: 60, r: 50, t: 10, b: 120 } }), config);
    document.getElementById("assumed").textContent =
      result.scaling.map((s) => `${s.name}: ${s.assumed}.`).join(" ");
  }
  function batches() {
    const list = result.finalists.map((c) => c.evaluation);
    const labels = list.map((e) => (same(e.settings, best.settings) ? "★ " : "")
      + `${e.settings.batch_size} / ${e.settings.maximum_batching_window} / ${e.settings.pollers}`);
    const causes = [["count", "--batch", "batch size"], ["window", "--poll", "window"], ["bytes", "--encode", "payload limit"]];
    Plotly.react("causes", causes.map(([cause, tone, label]) => ({ y: labels, type: "bar", orientation: "h", name: label,
      x: list.map((e) => (e.causes[cause] || 0) / e.batches * 100), marker: { color: color(tone) } })),
    layout({ barmode: "stack", xaxis: { title: { text: "% of batches" } }, yaxis: { autorange: "reversed" } }), config);
    Plotly.react("fill", [["by records", (e) => e.fill_by_records_share, "--batch"],
      ["by bytes", (e) => e.fill_by_bytes_share, "--encode"]].map(([label, of, tone]) => ({ y: labels, type: "bar",
      orientation: "h", name: label, x: list.map((e) => of(e) * 100), marker: { color: color(tone) } })),
    layout({ barmode: "group", xaxis: { title: { text: "% full on average" }, range: [0, 100] }, yaxis: { autorange: "reversed" } }), config);
  }
  function draw() { pareto(); ages(); lag(); batches(); }

  // ---- the other tables
  function runs() {
    const table = document.getElementById("runs");
    if (result.runs.length === 0 && !result.exhaustive) { document.getElementById("runs-none").hidden = false; return; }
    head(table, ["", "records/s", "simulated", "", "p50 age", "simulated", "", "p99 age", "simulated", "", "per million", "simulated"]);
    const body = table.createTBody();
    const further = result.exhaustive;
    const price = (run) => run.real.per_million_records ?? Infinity;
    if (further) {
      const behind = further.behind_share;
      document.getElementById("exhaustive").textContent =
        `${further.runs.length} further settings were run for comparison (below, the cheapest first; ${further.left_out} were left `
        + `out, as they do not keep up by the simulator). ${further.kept} kept the limits`
        + (further.best ? `; the best of them is ${name(further.best)}` : "")
        + (!further.best ? "." : behind === null ? ". The recommended one did not, in its run." : behind > 0 ? `; the recommended one's run came to ${(behind * 100).toFixed(1)} % more.`
          : ", the recommended one.");
    }
    for (const run of [...result.runs, ...(further ? [...further.runs].sort((a, b) => price(a) - price(b)) : [])]) {
      const row = body.insertRow();
      if (same(run.settings, best.settings)) row.className = "best";
      cell(row, name(run.settings), "th");
      const pair = (of, show, within, least) => {
        const [real, simulated] = [of(run.real), of(run.simulated)];
        cell(row, show(real));
        cell(row, show(simulated));
        const off = real > 0 ? simulated / real - 1 : 0;
        const shown = cell(row, (off >= 0 ? "+" : "") + percent(off));
        if (Math.abs(simulated - real) > Math.max(within * real, least)) shown.className = "off";
      };
      pair((f) => f.records_per_s, count, .1, 0);
      pair((f) => f.age.p50_us, time, .2, 5000);
      pair((f) => f.age.p99_us, time, .2, 5000);
      cell(row, run.real.per_million_records === null ? "–" : money(run.real.per_million_records));
      cell(row, run.simulated.per_million_records === null ? "–" : money(run.simulated.per_million_records));
    }
  }
  function sensitivity() {
    const table = document.getElementById("sensitivity");
    head(table, ["", ...columns.map(([text]) => text)]);
    const body = table.createTBody();
    line(body, like, "recommended").className = "best";
    for (const one of result.sensitivity) line(body, one.evaluation, one.parameter.replaceAll("_", " "));
    const habits = { as_is: "records as they are", no_headers: "records without headers", no_keys: "records without keys",
      half_values: "values of half the size" };
    for (const one of result.habits) line(body, one.evaluation, habits[one.habit] ?? one.habit);
  }
  function all() {
    const table = document.getElementById("all");
    const heads = head(table, columns.map(([text]) => text));
    const body = table.createTBody();
    const list = [...result.evaluations];
    let sorted = 5, ascending = true;
    const show = () => {
      const [, value] = columns[sorted];
      list.sort((a, b) => (value(a) - value(b)) * (ascending ? 1 : -1));
      body.replaceChildren();
      for (const e of list) {
        const row = line(body, e);
        if (same(e.settings, best.settings)) row.className = "best";
        row.onclick = () => pin("pinned", e);
      }
      heads.forEach((th, i) => i === sorted ? th.setAttribute("aria-sort", ascending ? "ascending" : "descending")
        : th.removeAttribute("aria-sort"));
    };
    heads.forEach((th, i) => { th.onclick = () => { ascending = sorted === i ? !ascending : true; sorted = i; show(); }; });
    show();
  }

  showPins(); runs(); sensitivity(); all(); draw();
  dark.addEventListener("change", draw);
  document.body.dataset.ready = "yes";
})();
