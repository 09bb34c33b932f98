import { panel, read, records, tellUrl } from "./live.js";

// ---------------------------------------------------------------- the page's examples

function examples(section) {
  const items = section.querySelector(".items");
  const chosen = () => section.querySelector("input:checked");
  const { start, stop } = panel(section, async (signal) => {
    items.replaceChildren();
    await read(chosen().value, signal, (text) => {
      const item = document.createElement("span");
      item.className = "item";
      item.textContent = text;
      items.append(item);
    });
  });
  function choose() {
    const { value, dataset } = chosen();
    for (const source of section.querySelectorAll(".source")) source.hidden = source.id !== `source-${dataset.source}`;
    items.classList.toggle("small", dataset.source === "accessing");
    section.querySelector("a").href = value;
    tellUrl(section, value);
  }
  section.querySelector(".tabs").addEventListener("change", () => {
    stop();
    choose();
    start();
  });
  choose();
  start();
}

// ---------------------------------------------------------------- ticks

function ticks(section) {
  const beats = section.querySelector(".beats");
  const { start } = panel(section, (signal) => new Promise((_, reject) => {
    const source = new EventSource("ticks");
    source.addEventListener("message", (event) => {
      const tick = JSON.parse(event.data);
      section.querySelector("time").textContent = new Date(tick.time).toLocaleTimeString("en-GB");
      section.querySelector(".number").textContent = `event ${tick.number}`;
      const beat = document.createElement("li");
      beat.style.height = `${35 + 65 * Math.abs(Math.sin(tick.number / 3))}%`;
      beats.append(beat);
      if (beats.childElementCount > 60) beats.firstElementChild.remove();
    });
    signal.addEventListener("abort", () => {
      source.close();
      reject(signal.reason);
    });
  }));
  tellUrl(section, "ticks");
  start();
}

// ---------------------------------------------------------------- flights

function flights(section) {
  const board = section.querySelector("tbody");
  const figure = (name) => section.querySelector(`.${name}`);
  const url = (format) => {
    const wanted = [...section.querySelectorAll("select")].filter((s) => s.value).map((s) => [s.name, s.value]);
    return `flights.${format}` + (wanted.length ? `?${new URLSearchParams(wanted)}` : "");
  };
  const { stop } = panel(section, async (signal) => {
    const began = performance.now();
    let rows = 0, letters = 0, latest = [], due = 0;
    function draw() {
      due = 0;
      figure("rows").textContent = rows.toLocaleString("en");
      figure("rate").textContent = Math.round(rows / Math.max(performance.now() - began, 1) * 1000).toLocaleString("en");
      figure("size").textContent = (letters / 1e6).toFixed(1);
      board.replaceChildren(...latest.map(departure));
    }
    const onRecord = records((row) => {
      rows += 1;
      latest = [row, ...latest.slice(0, 5)];
    });
    try {
      await read(url("ndjson"), signal, (text) => {
        letters += text.length;
        onRecord(text);
        due ||= requestAnimationFrame(draw);
      });
    } finally {
      draw();
    }
  });
  function departure(row) {
    const late = row.dep_delay;
    const tr = document.createElement("tr");
    const clock = row.dep_time === null ? "cancelled" : String(row.dep_time).padStart(4, "0").replace(/(..)$/, ":$1");
    const cells = [`${row.month}/${row.day}`, `${row.carrier} ${row.flight}`, `${row.origin} → ${row.dest}`, clock, late ?? ""];
    for (const text of cells) tr.insertCell().textContent = text;
    tr.lastChild.className = late > 15 ? "late bad" : "late";
    return tr;
  }
  function choose() {
    for (const link of section.querySelectorAll("a[data-format]")) link.href = url(link.dataset.format);
    tellUrl(section, url("csv"));
  }
  section.querySelector(".choices").addEventListener("change", () => {
    stop();
    choose();
  });
  choose();
}

// ---------------------------------------------------------------- the job

function job(section) {
  const bar = section.querySelector("progress");
  const note = section.querySelector(".note");
  const heat = section.querySelector("tbody");
  function cell(carrier, month) {
    let row = heat.querySelector(`[data-carrier="${carrier}"]`);
    if (!row) {
      row = heat.insertRow();
      row.dataset.carrier = carrier;
      const head = document.createElement("th");
      head.textContent = carrier;
      row.append(head);
      for (let n = 0; n < 12; n += 1) row.insertCell();
    }
    return row.cells[month];
  }
  panel(section, async (signal) => {
    heat.replaceChildren();
    await read("job.ndjson", signal, records((item) => {
      if ("carrier" in item) {
        const td = cell(item.carrier, item.month);
        td.textContent = item.delay === null ? "" : Math.round(item.delay);
        td.style.setProperty("--late", Math.min(Math.max((item.delay ?? 0) / 40, 0), 1));
        td.className = "known";
      } else if ("done" in item) {
        bar.max = item.total;
        bar.value = item.done;
        note.textContent = item.note;
      }
    }));
  });
  tellUrl(section, "job.sse");
}

// ---------------------------------------------------------------- the import

function load(section) {
  const bar = section.querySelector("progress");
  const figure = (name) => section.querySelector(`.${name}`);
  async function tellCommitted() {
    const { committed } = await (await fetch("imported")).json();
    figure("committed").textContent = committed.toLocaleString("en");
    return committed;
  }
  function tellWritten(rows) {
    bar.value = rows;
    figure("written").textContent = rows.toLocaleString("en");
  }
  panel(section, async (signal) => {
    const watching = setInterval(tellCommitted, 500);
    try {
      await read("load", signal, records((item) => {
        if ("done" in item) tellWritten(item.done);
      }), "POST");
    } finally {
      clearInterval(watching);
      setTimeout(async () => tellWritten(await tellCommitted()), 300);  // the rollback follows the leaving
    }
  });
  section.querySelector(".curl").textContent = `curl -N -X POST '${new URL("load", location.href)}'`;
  tellCommitted().then(tellWritten);
}

for (const show of [examples, ticks, flights, job, load]) show(document.getElementById(show.name));
