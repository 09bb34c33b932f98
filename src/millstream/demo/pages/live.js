// What the pages share: a body as it arrives, and the panel around it.

// A response whose head has come and is a good one.
export async function ask(url, signal, method = "GET") {
  const response = await fetch(url, { signal, method });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response;
}

// Every piece as it arrives; ends with the body, throws when it is broken off or stopped.
export async function each(body, onPiece) {
  const reader = body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) onPiece(piece.value);
}

export async function read(url, signal, onText, method) {
  const response = await ask(url, signal, method);
  await each(response.body.pipeThrough(new TextDecoderStream()), onText);
}

// Turns pieces of text into whole lines, each parsed as JSON.
export function records(onRecord) {
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) onRecord(JSON.parse(line));
  };
}

// A section's button and state around `run(signal)`; returns its start and stop.
export function panel(section, run) {
  const button = section.querySelector("button");
  const state = section.querySelector(".state");
  const invitation = button.textContent;
  let leaving = null;

  function show(name, text) {
    section.classList.remove("flowing", "complete", "broken");
    section.classList.add(name);
    state.textContent = text;
    button.textContent = name === "flowing" ? "Stop" : invitation;
  }
  async function start() {
    const mine = (leaving = new AbortController());
    show("flowing", "flowing");
    let end = ["complete", "complete"];
    try {
      await run(mine.signal);
    } catch (error) {
      end = mine.signal.aborted ? ["stopped", "stopped"] : ["broken", `broken off: ${error.message}`];
    }
    if (leaving === mine) {  // nobody started it anew meanwhile
      leaving = null;
      show(...end);
    }
  }
  function stop() {
    leaving?.abort();
  }
  button.addEventListener("click", () => (leaving ? stop() : start()));
  // A page kept for "back" would keep its connections, and a browser has six for each host.
  window.addEventListener("pagehide", stop);
  return { start, stop };
}

export function tellUrl(section, url) {
  section.querySelector(".curl").textContent = `curl -N '${new URL(url, location.href)}'`;
}
