import { ask, each, panel } from "./live.js";

const SAMPLE = 100;  // milliseconds that one point of the trace stands for

const size = (bytes) => (bytes < 999_500 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 99.5e6 ? 1 : 0)} MB`);
const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(milliseconds < 9950 ? 2 : 1)} s`;

// What a body weighed on the wire. Only the browser knows, and only when it is complete: what a page reads was
// decoded before.
function weighed(url) {
  return new Promise((resolve) => {
    const observer = new PerformanceObserver((list) => {
      const entry = list.getEntriesByName(url).at(-1);
      if (!entry) return;
      observer.disconnect();
      resolve(entry.encodedBodySize);
    });
    observer.observe({ type: "resource" });
  });
}

const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// The rate over time as an area, as wide as the time it took.
function trace(path, rates) {
  const most = Math.max(...rates, 1);
  const width = 300 / Math.max(rates.length - 1, 30);
  const points = rates.map((rate, n) => `${(n * width).toFixed(1)} ${(39 - (36 * rate) / most).toFixed(1)}`);
  path.setAttribute("d", `M0 39L${points.join("L")}L${((rates.length - 1) * width).toFixed(1)} 39Z`);
}

function meter(row, urlOf) {
  const figure = (name, text) => (row.querySelector(`.${name}`).textContent = text);
  const path = row.querySelector("path");

  return panel(row, async (signal) => {
    const url = urlOf();
    const weight = weighed(url);
    const began = performance.now();
    let bytes = 0, before = 0;
    const rates = [0];
    const took = () => performance.now() - began;
    function sample() {
      rates.push(((bytes - before) * 1000) / SAMPLE);
      before = bytes;
    }
    function draw() {
      figure("size", size(bytes));
      figure("time", seconds(took()));
      trace(path, rates);
    }
    const sampling = setInterval(() => {
      sample();
      figure("rate", size(rates.slice(-5).reduce((sum, rate) => sum + rate) / Math.min(rates.length, 5)));
      draw();
    }, SAMPLE);
    figure("wire", "…");
    figure("coding", "");
    let wire;
    try {
      const response = await ask(url, signal);
      figure("coding", response.headers.get("content-encoding") ?? "as it is");
      await each(response.body, (piece) => (bytes += piece.byteLength));
      figure("rate", size((bytes * 1000) / took()));
      wire = await Promise.race([weight, later(2000)]);
    } finally {
      figure("wire", wire ? size(wire) : "–");  // of a body that was broken off nobody knows
      clearInterval(sampling);
      sample();
      draw();
    }
  });
}

function downloads(section) {
  const rows = [...section.querySelectorAll(".formats li")];
  const choices = section.querySelector(".choices");
  const all = section.querySelector(".all");
  function urlOf(row) {
    const wanted = [...choices.querySelectorAll("select")].filter((s) => s.value).map((s) => [s.name, s.value]);
    const folder = choices.querySelector("[name=compressed]").checked ? "" : "plain/";
    return new URL(folder + row.dataset.address + (wanted.length ? `?${new URLSearchParams(wanted)}` : ""), location.href).href;
  }
  const meters = rows.map((row) => meter(row, () => urlOf(row)));
  function choose() {
    for (const row of rows) row.querySelector(".save").href = urlOf(row);
    section.querySelector(".curl").textContent = `curl --compressed -OJ '${urlOf(rows[0])}'`;
  }
  choices.addEventListener("change", () => {
    for (const { stop } of meters) stop();
    choose();
  });
  all.addEventListener("click", async () => {
    all.disabled = true;
    for (const { start } of meters) await start();
    all.disabled = false;
  });
  choose();
}

downloads(document.getElementById("downloads"));
