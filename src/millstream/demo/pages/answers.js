// A run is named by what it was asked, and a ticket that the page has drawn: whoever opens the same address
// reads the same run, and the first one starts it.
function answers(section) {
  const text = section.querySelector(".answer");
  const button = section.querySelector("button");
  const state = section.querySelector(".state");
  const link = section.querySelector(".again");
  let source = null;
  let run = "";  // its id, which every event bears

  function show(name, words = name) {
    section.classList.remove("flowing", "complete", "broken", "stopped");
    section.classList.add(name);
    state.textContent = words;
    button.textContent = source ? "Stop" : "Ask";
    button.disabled = source !== null && !run;  // what has no name yet cannot be stopped
  }
  function close(name, words) {
    source?.close();
    source = null;
    show(name, words);
  }
  function write(word) {
    const item = document.createElement("span");
    item.className = "item";
    item.textContent = word;
    text.append(item);
  }
  function follow(wanted) {
    source?.close();
    text.replaceChildren();
    run = "";
    const address = new URL(`${section.dataset.ask}?${wanted}`, location.href);
    link.href = location.href;
    link.hidden = false;
    section.querySelector(".curl").textContent = `curl -N '${address}'`;
    source = new EventSource(address);
    show("flowing", "asking");
    source.addEventListener("message", (event) => {
      write(event.data);
      if (!run) {
        run = event.lastEventId.split(":")[0];
        show("flowing", "writing");
      } else if (state.textContent !== "writing") {
        show("flowing", "writing");
      }
    });
    source.addEventListener("end", () => close("complete"));
    source.addEventListener("goodbye", (event) => {
      if (JSON.parse(event.data).reason === "stopped") close("stopped");
    });
    source.addEventListener("error", (event) => {
      if (event.data) close("broken", `broken off: ${JSON.parse(event.data).title}`);
      else if (source?.readyState === EventSource.CLOSED) close("broken", "this answer is not there any more");
      else show("flowing", "connecting again");  // by itself, and from the last event on
    });
  }
  function ask() {
    const question = section.querySelector("input:checked").value;
    const ticket = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
    const wanted = new URLSearchParams({ question, ticket });
    history.pushState(null, "", `?${wanted}`);
    follow(wanted);
  }
  function come() {
    const wanted = new URLSearchParams(location.search);
    if (!wanted.has("ticket")) return;
    const asked = section.querySelector(`input[value="${CSS.escape(wanted.get("question") ?? "")}"]`);
    if (asked) asked.checked = true;
    follow(wanted);
  }
  button.addEventListener("click", () => {
    if (source) fetch(`${section.dataset.runs}/${run}/stop`, { method: "POST" });  // the answer's own last words tell the end
    else ask();
  });
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => event.persisted && come());
  window.addEventListener("popstate", come);
  come();
}

answers(document.getElementById("answers"));
