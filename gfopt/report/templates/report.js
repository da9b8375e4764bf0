"use strict";
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const jobs = Object.entries(figures.panels).map(([name, spec]) =>
    Plotly.newPlot(document.getElementById(name), spec.data, spec.layout, config)
  );

  const choices = ["cell", "metric", "axis"].map((name) => document.getElementById("choose-" + name));
  function draw() {
    const [cell, metric, axis] = choices.map((choice) => choice.value);
    const spec = figures.convergence[[cell, metric, axis].join("|")];
    const plot = document.getElementById("convergence-plot");
    const caption = document.getElementById("convergence-caption");
    if (!spec) {
      Plotly.purge(plot);
      caption.textContent = "No finite value was logged for this choice.";
      return Promise.resolve();
    }
    caption.textContent = spec.caption;
    return Plotly.react(plot, spec.data, spec.layout, config);
  }
  if (choices[0]) {
    choices.forEach((choice) => choice.addEventListener("change", draw));
    jobs.push(draw());
  }

  // the why section: three choices, of which only some combinations were measured
  const whys = ["panel", "quantity", "optimizer"].map((name) => document.getElementById("why-" + name));
  function offer() {
    // what was chosen first rules out what comes after it
    whys.forEach((choice, place) => {
      const before = whys.slice(0, place).map((other) => other.value);
      const keys = Object.keys(figures.why).map((key) => key.split("|"));
      const fits = (value) => keys.some((key) => [...before, value].every((part, index) => key[index] === part));
      [...choice.options].forEach((option) => { option.disabled = !fits(option.value); });
      if (choice.selectedOptions[0].disabled) choice.value = [...choice.options].find((option) => !option.disabled).value;
    });
  }
  function drawWhy() {
    offer();
    const spec = figures.why[whys.map((choice) => choice.value).join("|")];
    const plots = document.getElementById("why-plots");
    plots.querySelectorAll(".facet").forEach((facet) => Plotly.purge(facet));
    plots.replaceChildren();
    document.getElementById("why-caption").textContent = spec.caption;
    const places = spec.facets.map(() => {
      const place = document.createElement("div");
      place.className = "facet";
      plots.appendChild(place);
      return place;
    });
    // only now, with all of them there, do they have their widths
    return Promise.all(spec.facets.map((facet, index) => Plotly.newPlot(places[index], facet.data, facet.layout, config)));
  }
  if (whys[0]) {
    whys.forEach((choice) => choice.addEventListener("change", drawWhy));
    jobs.push(drawWhy());
  }

  document.querySelectorAll("table.sortable th[data-sort]").forEach((head) => {
    head.tabIndex = 0;
    const sort = () => sortBy(head);
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
  function sortBy(head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    head.closest("tr").querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const place = [...head.parentNode.children].indexOf(head);
    const value = (row) => {
      const text = row.children[place].textContent.trim();
      return text.startsWith("∞") ? Infinity : text.startsWith("-∞") ? -Infinity : parseFloat(text);
    };
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return a.children[place].textContent.localeCompare(b.children[place].textContent);
      return x === y ? 0 : x < y ? -1 : 1;
    };
    head.closest("table").querySelectorAll("tbody").forEach((body) => {
      const rows = [...body.querySelectorAll("tr:not(.group)")].sort(compare);
      (descending ? rows.reverse() : rows).forEach((row) => body.appendChild(row));
    });
  }

  Promise.all(jobs).then(() => { document.documentElement.dataset.ready = "1"; });
})();
