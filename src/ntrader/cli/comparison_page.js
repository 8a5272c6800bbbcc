"use strict";
(() => {
  const curves = JSON.parse(document.getElementById("data").textContent).curves;
  const shown = new Set(curves.map((curve) => curve.index));
  if (curves.length === 0) return;
  document.getElementById("curves").hidden = false;

  const SVG = "http://www.w3.org/2000/svg";
  const LEFT = 56, BOTTOM = 18, TOP = 8;
  const begin = Math.min(...curves.map((curve) => curve.times[0]));
  const end = Math.max(...curves.map((curve) => curve.times[curve.times.length - 1]));
  const span = Math.max(end - begin, 1);
  const charts = [
    { id: "growth", key: "growth", show: (value) => value.toFixed(2) + "x" },
    { id: "drawdown", key: "drawdown", show: (value) => (100 * value).toFixed(1) + "%" },
  ];
  const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
  const moment = (seconds) =>
    new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ").replace(" 00:00", "");

  function element(name, attributes, parent, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  // The last point at or before a time; -1 before the first.
  function pointAt(curve, time) {
    let low = 0, high = curve.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (curve.times[middle] <= time) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  function steps(low, high, count) {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step)
      found.push(value);
    return found;
  }

  function draw(chart) {
    const svg = document.getElementById(chart.id);
    svg.replaceChildren();
    const width = svg.clientWidth || 900, height = svg.clientHeight || 300;
    const visible = curves.filter((curve) => shown.has(curve.index));
    let low = Infinity, high = -Infinity;
    for (const curve of visible) for (const value of curve[chart.key]) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) { low = 0; high = 1; }
    if (low === high) { low -= 0.01; high += 0.01; }
    const x = (time) => LEFT + ((time - begin) / span) * (width - LEFT - 4);
    const y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
    for (const value of steps(low, high, height / 50)) {
      element("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }, svg);
      const at = { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" };
      element("text", at, svg, chart.show(value));
    }
    const marks = Math.max(2, Math.floor(width / 140));
    for (let mark = 0; mark < marks; mark++) {
      const time = begin + (span * mark) / (marks - 1);
      const anchor = mark === 0 ? "start" : mark === marks - 1 ? "end" : "middle";
      element("text", { x: x(time), y: height - 4, "text-anchor": anchor }, svg, day(time));
    }
    for (const curve of visible) {
      const points = curve[chart.key].map(
        (value, index) => x(curve.times[index]).toFixed(1) + " " + y(value).toFixed(1));
      const line = { class: "run-" + curve.index, stroke: "currentColor", d: "M" + points.join("L") };
      element("path", line, svg);
    }
    chart.cursor = element("line", { class: "cursor", y1: TOP, y2: height - BOTTOM }, svg);
    chart.cursor.setAttribute("visibility", "hidden");
    chart.x = x;
    chart.timeAt = (pixel) => begin + ((pixel - LEFT) / Math.max(width - LEFT - 4, 1)) * span;
  }

  const readout = document.getElementById("readout");

  const times = [...new Set(curves.flatMap((curve) => curve.times))].sort((a, b) => a - b);
  const strides = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 };
  let place = times.length - 1;

  // The bar that a key leads to; undefined for any other key.
  function placeAfter(key) {
    if (key === "Home") return 0;
    if (key === "End") return times.length - 1;
    if (!(key in strides)) return undefined;
    return Math.min(Math.max(place + strides[key], 0), times.length - 1);
  }

  function read(wanted) {
    const time = Math.min(Math.max(wanted, begin), end);
    place = pointAt({ times }, time);
    for (const each of charts) {
      each.cursor.setAttribute("x1", each.x(time));
      each.cursor.setAttribute("x2", each.x(time));
      each.cursor.setAttribute("visibility", "visible");
    }
    readout.replaceChildren();
    let at = begin;
    for (const curve of curves) {
      const point = pointAt(curve, time);
      if (!shown.has(curve.index) || point < 0) continue;
      const value = document.createElement("b");
      value.className = "run-" + curve.index;
      value.textContent = curve.label + " " +
        charts.map((each) => each.show(curve[each.key][point])).join(", ");
      readout.append(value);
      at = Math.max(at, curve.times[point]);
    }
    readout.prepend(moment(at));
  }

  const legend = document.getElementById("legend");
  for (const curve of curves) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "run-" + curve.index;
    button.textContent = curve.label + " " + curve.name;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!shown.delete(curve.index)) shown.add(curve.index);
      button.setAttribute("aria-pressed", String(shown.has(curve.index)));
      charts.forEach(draw);
    });
    legend.append(button);
  }
  for (const chart of charts) {
    const svg = document.getElementById(chart.id);
    svg.addEventListener("pointermove", (event) =>
      read(chart.timeAt(event.clientX - svg.getBoundingClientRect().left)));
    svg.addEventListener("keydown", (event) => {
      const next = placeAfter(event.key);
      if (next === undefined) return;
      event.preventDefault();
      read(times[next]);
    });
  }
  addEventListener("resize", () => charts.forEach(draw));
  charts.forEach(draw);
})();
