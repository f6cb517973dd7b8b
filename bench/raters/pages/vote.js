"use strict";
(() => {
  const main = document.querySelector("main");
  const form = document.getElementById("vote");
  const status = document.getElementById("status");
  const tools = document.querySelector(".tools");
  const images = [...document.querySelectorAll(".frame img")];
  const source = document.querySelector(".source img");
  const edits = images.filter((image) => image !== source);
  const controls = [...form.querySelectorAll("button, input:not([type=hidden])")];
  let visible = null;
  let sent = false;

  // All pictures appear at once, so that none is judged by how soon it came, and the time to an answer begins then.
  const enable = (on) => controls.forEach((control) => { control.disabled = !on; });
  main.classList.add("waiting");
  enable(false);
  Promise.all(images.map((image) => image.decode())).then(() => {
    images.forEach((image) => image.classList.toggle("small", image.naturalWidth < 400));
    edits.forEach((image) => {
      image.dataset.own = image.src;
      const original = source.cloneNode();
      original.hidden = true;
      original.alt = "Original";
      image.after(original);
    });
    main.classList.remove("waiting");
    tools.hidden = false;
    enable(true);
    visible = performance.now();
  }).catch(() => { status.textContent = "A picture did not come. Please reload the page."; });

  const flicker = (on) => edits.forEach((image) => {
    image.hidden = on;
    image.nextElementSibling.hidden = !on;
  });
  const zoomButton = document.getElementById("zoom");
  const zoom = (on) => {
    main.classList.toggle("zoomed", on);
    zoomButton.setAttribute("aria-pressed", String(on));
  };
  const zoomed = () => main.classList.contains("zoomed");
  const look = (frame, event) => {
    const box = frame.getBoundingClientRect();
    const share = (at, start, size) => `${Math.min(Math.max((at - start) / size, 0), 1) * 100}%`;
    main.style.setProperty("--x", share(event.clientX, box.left, box.width));
    main.style.setProperty("--y", share(event.clientY, box.top, box.height));
  };
  document.querySelectorAll(".frame").forEach((frame) => {
    frame.addEventListener("pointermove", (event) => look(frame, event));
    frame.addEventListener("click", (event) => { look(frame, event); zoom(!zoomed()); });
  });
  zoomButton.addEventListener("click", () => zoom(!zoomed()));
  const hold = document.getElementById("flicker");
  hold.addEventListener("pointerdown", (event) => { hold.setPointerCapture(event.pointerId); flicker(true); });
  ["pointerup", "pointercancel", "blur"].forEach((name) => hold.addEventListener(name, () => flicker(false)));
  window.addEventListener("blur", () => flicker(false));

  const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  const send = async (body) => {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
        if (answer.type === "opaqueredirect") return true;
        if (answer.status < 500) return false;
      } catch (error) { /* no connection: it is tried again */ }
      status.textContent = "Your answer is not stored yet; trying again …";
      await pause(Math.min(500 * 2 ** attempt, 8000));
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sent || visible === null) return;
    sent = true;
    form.elements.seconds.value = ((performance.now() - visible) / 1000).toFixed(3);
    const body = new URLSearchParams(new FormData(form, event.submitter));
    enable(false);
    if (event.submitter) event.submitter.classList.add("chosen");
    if (await send(body)) window.location.replace(window.location.href);
    else status.textContent = "This answer could not be taken. Please reload the page.";
  });

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || visible === null) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === " " && (event.target === document.body || event.target === hold)) {
      event.preventDefault(); // a focused button or choice keeps its own meaning of the key
      flicker(true);
      return;
    }
    if (event.repeat || (key.startsWith("Arrow") && event.target.closest(".texts"))) return; // there it scrolls
    if (key === "z") { zoom(!zoomed()); return; }
    const control = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!control || control.disabled) return;
    if (key === "Enter" && event.target.matches("button")) return;
    event.preventDefault();
    if (control.type === "radio") control.checked = true;
    else form.requestSubmit(control);
  });
  document.addEventListener("keyup", (event) => { if (event.key === " ") flicker(false); });
})();
