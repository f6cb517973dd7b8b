// Two pictures on one stage: side by side under a slider, in turns, or their absolute difference; or the map of an edit's distance.
const FLICKER_MS = 700;
const stage = { mode: "slide", swapped: false, timer: 0 };
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

const slide = () => {
  const at = stage.mode === "slide" ? byId("stage-slide").value : 100;
  byId("stage-over").style.clipPath = stage.mode === "slide" ? `inset(0 ${100 - at}% 0 0)` : "";
  byId("stage-line").style.left = `${at}%`;
};

const swap = (over) => {
  stage.swapped = over;
  byId("stage-over").style.visibility = stage.mode === "flicker" && !over ? "hidden" : "";
  if (stage.mode === "flicker") byId("stage-left").textContent = over ? byId("stage").dataset.over : byId("stage").dataset.under;
};

const place = (image, picture, label) => {
  image.hidden = !picture.whole;
  image.alt = label;
  if (!picture.whole) return image.removeAttribute("src");
  if (image.getAttribute("src") !== picture.whole) image.src = picture.whole;
  return image;
};

/** Shows `under`, an edit, and `over`, what it is compared with, or in its place the edit's `map`. */
const setStage = (under, underName, other, otherName, mask, map) => {
  const box = byId("stage");
  const mapped = stage.mode === "map" && Boolean(under.whole);
  const over = mapped ? map : other;
  const overName = mapped ? `map of ${underName}` : otherName;
  const mode = over.whole && under.whole ? stage.mode : "alone";
  Object.assign(box.dataset, { mode, under: underName, over: overName });
  place(byId("stage-under"), under, underName);
  place(byId("stage-over"), mode === "alone" ? {} : over, overName);
  place(byId("stage-mask"), byId("stage-masked").firstElementChild.checked ? mask : {}, "");
  byId("stage-masked").hidden = !mask.whole;
  const missing = mapped ? map.missing : under.missing;
  byId("stage-under").hidden = Boolean(missing);
  byId("stage-missing").hidden = !missing;
  byId("stage-missing").textContent = missing ?? "";
  byId("stage-line").hidden = mode !== "slide";
  byId("stage-slide").hidden = mode !== "slide";
  byId("stage-gain").hidden = mode !== "difference";
  byId("stage-other").hidden = stage.mode === "map";
  if (byId("stage-scale")) byId("stage-scale").hidden = mode !== "map";
  byId("stage-swap").hidden = mode !== "flicker";
  byId("stage-swap").textContent = calm.matches ? "Swap" : stage.timer ? "Pause" : "Go on";
  byId("stage-left").textContent = {
    slide: overName, map: overName, difference: `|${underName} − ${overName}|`,
  }[mode] ?? underName;
  byId("stage-right").textContent = mode === "slide" ? underName : "";
  const full = byId("stage-full");
  full.hidden = !under.whole || Boolean(run.embedded);
  if (under.whole) full.href = under.whole;
  box.style.setProperty("--gain", byId("stage-gain").firstElementChild.value);
  slide();
  swap(mode === "flicker" && stage.swapped);
};

const beat = (on) => {
  clearInterval(stage.timer);
  stage.timer = on && !calm.matches ? setInterval(() => swap(!stage.swapped), FLICKER_MS) : 0;
};

/** Hears what the reader wants of the stage; `redraw` draws it again. */
const openStage = (redraw) => {
  const group = byId("stage-mode");
  const pick = (button) => {
    choose(group, button, "aria-checked");
    stage.mode = button.dataset.mode;
    stage.swapped = false;
    beat(stage.mode === "flicker");
    redraw();
  };
  all("button", group).forEach((button) => button.addEventListener("click", () => pick(button)));
  rove(group, () => all("button", group), pick);
  byId("stage-swap").addEventListener("click", () => {
    if (calm.matches) return swap(!stage.swapped);
    beat(!stage.timer);
    return redraw();
  });
  byId("stage-slide").addEventListener("input", slide);
  ["stage-with", "stage-gain", "stage-masked"].forEach((id) => byId(id).addEventListener("change", redraw));
  all("img", byId("stage")).forEach((image) => image.addEventListener("load", () => {
    image.classList.toggle("pixels", !(image.id === "stage-over" && stage.mode === "map") && Math.max(image.naturalWidth, image.naturalHeight) <= 128);
    if (image.id === "stage-under") byId("stage").style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
  }));
};
