// ---------------------------------------------------------------- one item, with its masks
const MASK_SIDE = 1600; // masks are drawn no larger than this
const FILL = 0x66; // opacity of what is inside
const view = { item: null, hidden: new Set(), outlines: false, masks: null, canvas: null };

// Files beside the page call this: the item's place in the page's data, and its run lengths.
window.sa2vaMasks = (id, height, width, objects) => {
  if (!view.item || view.item.id !== id) return;
  view.masks = objects.map(([objId, counts]) => [objId, readCounts(counts)]);
  view.masks.sort(([, a], [, b]) => areaOf(b) - areaOf(a)); // small ones above large ones
  view.size = { height, width };
  drawMasks();
};

function openDetail() {
  const item = shown[current];
  if (!item) return;
  Object.assign(view, { item, hidden: new Set(), masks: null, canvas: null });
  byId("name").textContent = item.id;
  byId("facts").textContent = facts(item);
  byId("objects").replaceChildren(...objectRows(item));
  byId("answers").replaceChildren(...answerRows(item));
  byId("notes").replaceChildren(...noteRows(item));
  if (!byId("detail").open) byId("detail").showModal(); // from now on the stage has a size
  byId("stage").replaceChildren(...stage(item));
  history.replaceState(null, "", `#${item.index}`);
  markCurrent();
}

function facts(item) {
  if (item.failed) return `failed after ${plural(item.attempts, "attempt")}`;
  const words = [`${item.width} × ${item.height}`];
  if (item.kind === "video") words.push(plural(item.frames, "frame"));
  if (item.fps) words.push(`${Number(item.fps.toFixed(2))} frames a second`);
  return words.join(" · ");
}

function stage(item) {
  if (item.failed) return [element("div", { className: "picture", textContent: item.reason })];
  if (item.kind === "video") {
    if (!item.video) return [element("p", { textContent: "There is no overlay video." })];
    return [element("video", { src: item.video, controls: true, loop: true, muted: true, autoplay: true })];
  }
  if (!item.picture) return [element("p", { textContent: "The picture is no longer where it was." })];
  const image = element("img", { src: item.picture, alt: item.id });
  view.canvas = element("canvas");
  const frame = element("div", { className: "frame" }, image, view.canvas);
  const note = element("p");
  image.addEventListener("error", () => {
    if (!item.thumb || image.getAttribute("src") === item.thumb) return;
    note.textContent = "The original cannot be shown: this is its thumbnail, masks drawn in.";
    image.src = item.thumb;
    view.canvas.hidden = true;
  });
  fitFrame(frame, item);
  if (item.masks) loadMasks(item);
  return [frame, note];
}

function fitFrame(frame, item) {
  const room = byId("stage").getBoundingClientRect();
  const scale = Math.min(room.width / item.width, room.height / item.height, 8);
  frame.style.width = `${Math.round(item.width * scale)}px`;
  frame.style.height = `${Math.round(item.height * scale)}px`;
}

function loadMasks(item) {
  const script = element("script", { src: item.masks });
  script.addEventListener("load", () => script.remove());
  script.addEventListener("error", () => script.remove());
  document.head.append(script);
}

// ---------------------------------------------------------------- masks
function readCounts(text) { // COCO's compressed run lengths: LEB128 with 5 bits, then differences
  const counts = [];
  let place = 0;
  while (place < text.length) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(place) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
      place += 1;
    } while (code & 0x20);
    if (code & 0x10) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
}

const areaOf = (counts) => counts.reduce((sum, run, place) => (place % 2 ? sum + run : sum), 0);

function drawMasks() {
  const { canvas, masks, size } = view;
  if (!canvas || !masks) return;
  const step = Math.max(Math.ceil(Math.max(size.width, size.height) / MASK_SIDE), 1);
  const width = Math.ceil(size.width / step);
  const height = Math.ceil(size.height / step);
  Object.assign(canvas, { width, height });
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (const [objId, counts] of masks) {
    const object = view.item.objects.find((one) => one.id === objId);
    if (object && !view.hidden.has(objId)) {
      paint(pixels, fill(counts, size, step, width, height), width, height, object.colour);
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  canvas.dataset.drawn = String(masks.length - view.hidden.size);
}

function fill(counts, size, step, width, height) { // runs go down the columns
  const mask = new Uint8Array(width * height);
  let start = 0;
  for (let run = 0; run < counts.length; run += 1) {
    const end = start + counts[run];
    if (run % 2) {
      const lastColumn = Math.floor((end - 1) / size.height);
      for (let x = Math.floor(start / size.height); x <= lastColumn; x += 1) {
        if (x % step) continue;
        const top = Math.max(start - x * size.height, 0);
        const bottom = Math.min(end - x * size.height, size.height);
        for (let y = Math.ceil(top / step) * step; y < bottom; y += step) {
          mask[(y / step) * width + x / step] = 1;
        }
      }
    }
    start = end;
  }
  return mask;
}

function paint(pixels, mask, width, height, colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const rgb = (blue << 16) | (green << 8) | red;
  const rim = ((0xff << 24) | rgb) >>> 0;
  const dark = 0xc0101010;
  const thick = Math.max(Math.round(Math.max(width, height) / 300), 1);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * width + x;
      if (!mask[at]) continue;
      const edge = nearEdge(mask, x, y, width, height, thick);
      if (edge) pixels[at] = edge === 1 ? rim : dark;
      else if (!view.outlines && pixels[at] >>> 24 <= FILL) pixels[at] = tint(rgb, pixels[at]);
    }
  }
}

function tint(rgb, below) { // where two objects overlap, both colours by halves
  const mixed = below ? ((rgb & 0xfefefe) >>> 1) + ((below & 0xfefefe) >>> 1) : rgb;
  return ((FILL << 24) | mixed) >>> 0;
}

function nearEdge(mask, x, y, width, height, thick) { // 1: the rim, 2: the dark line inside it
  for (let distance = 1; distance <= thick + 1; distance += 1) {
    const out = (x >= distance && !mask[y * width + x - distance])
      || (x + distance < width && !mask[y * width + x + distance])
      || (y >= distance && !mask[(y - distance) * width + x])
      || (y + distance < height && !mask[(y + distance) * width + x]);
    if (out) return distance <= thick ? 1 : 2;
  }
  return 0;
}

// ---------------------------------------------------------------- words beside the picture
function objectRows(item) {
  if (!item.objects.length) return [];
  const rows = [element("h3", { textContent: "Objects" })];
  if (item.kind === "image" && item.found) rows.push(maskTools(item));
  return rows.concat(item.objects.map((object, number) => objectRow(item, object, number)));
}

function maskTools(item) {
  const all = element("button", { type: "button", textContent: "All on / off" });
  const outlines = element("button", { type: "button", textContent: "Outlines" });
  all.addEventListener("click", toggleAll);
  outlines.addEventListener("click", toggleOutlines);
  return element("div", { className: "tools" }, all, outlines);
}

function objectRow(item, object, number) {
  const row = element("div", { className: object.found ? "object" : "object absent" }, dot(object));
  const words = element("label", { textContent: object.label }, scoreLine(item, object));
  row.append(words);
  if (object.found && item.kind === "image") {
    const box = element("input", { type: "checkbox", checked: true, id: `mask-${object.id}` });
    words.htmlFor = box.id;
    box.title = number < 9 ? `Key ${number + 1}` : "";
    box.addEventListener("change", () => setMask(object.id, box.checked));
    row.append(box);
  }
  return row;
}

function scoreLine(item, object) {
  const words = [];
  if (object.label !== object.category) words.push(object.category);
  if (!object.found) words.push("not found");
  words.push(`score ${percent(object.score)}`, `object ${percent(object.object_score)}`);
  words.push(`[SEG] ${percent(object.seg_probability)}`);
  if (object.found && item.kind === "image") words.push(`${(object.area * 100).toFixed(1)} % of the picture`);
  if (item.kind === "video") words.push(`in ${object.frames} of ${plural(item.frames, "frame")}`);
  return element("small", { textContent: words.join(" · ") });
}

function answerRows(item) {
  if (!item.answers.length) return [];
  const rows = item.answers.map((answer) => {
    const row = element("div", { className: "answer" }, element("b", { textContent: answer.prompt }));
    if (answer.presence !== undefined) {
      row.append(element("small", { textContent: `presence ${percent(answer.presence)}` }), "\n");
    }
    row.append(answer.text);
    return row;
  });
  return [element("h3", { textContent: "What the model said" }), ...rows];
}

function noteRows(item) {
  if (!item.notes || !item.notes.length) return [];
  const rows = item.notes.map((note) => element("p", { className: "quiet", textContent: note }));
  return [element("h3", { textContent: "Notes" }), ...rows];
}

function setMask(objId, on) {
  if (on) view.hidden.delete(objId);
  else view.hidden.add(objId);
  const box = byId(`mask-${objId}`);
  if (box) box.checked = on;
  drawMasks();
}

function toggleAll() {
  const found = view.item.objects.filter((object) => object.found);
  const on = view.hidden.size > 0;
  for (const object of found) setMask(object.id, on);
}

function toggleOutlines() {
  view.outlines = !view.outlines;
  drawMasks();
}

// ---------------------------------------------------------------- keys
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "checkbox";
  if (typing && event.key !== "Escape") return;
  if (event.target.tagName === "BUTTON" && event.key === "Enter") return; // it presses the button
  const action = byId("detail").open ? DETAIL_KEYS[event.key] : GRID_KEYS[event.key];
  if (typing) {
    byId("viewport").focus();
  } else if (action) {
    event.preventDefault();
    action();
  } else if (byId("detail").open && /^[1-9]$/.test(event.key)) {
    const object = view.item.objects[Number(event.key) - 1];
    if (object && object.found) setMask(object.id, view.hidden.has(object.id));
  }
}

function step(by) {
  const place = current + by;
  if (place < 0 || place >= shown.length) return;
  moveTo(place);
  openDetail();
}

const perPage = () => columns * Math.max(Math.floor(byId("viewport").clientHeight / (CARD.height + CARD.gap)), 1);
const GRID_KEYS = {
  ArrowLeft: () => moveTo(current - 1),
  ArrowRight: () => moveTo(current + 1),
  ArrowUp: () => moveTo(current - columns),
  ArrowDown: () => moveTo(current + columns),
  PageUp: () => moveTo(current - perPage()),
  PageDown: () => moveTo(current + perPage()),
  Home: () => moveTo(0),
  End: () => moveTo(shown.length - 1),
  Enter: openDetail,
  "/": () => byId("search").focus(),
  t: switchTheme,
  "?": () => byId("help").showModal(),
};
const DETAIL_KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  m: toggleAll,
  o: toggleOutlines,
  t: switchTheme,
};

function openWanted() { // report.html#17; typed or followed, also in a tab that shows the page
  const wanted = /^#\d+$/.test(location.hash) ? items[Number(location.hash.slice(1))] : undefined;
  if (!wanted) {
    byId("detail").close();
    return;
  }
  if (!shown.includes(wanted)) showAll();
  moveTo(shown.indexOf(wanted));
  openDetail();
}

// ---------------------------------------------------------------- begin
let waiting = false;
byId("viewport").addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; render(); });
});
addEventListener("resize", () => {
  layOut();
  const frame = document.querySelector("#stage .frame");
  if (frame && byId("detail").open) fitFrame(frame, view.item);
});
addEventListener("keydown", onKey);
byId("detail").addEventListener("close", () => {
  byId("stage").replaceChildren(); // stops a video
  history.replaceState(null, "", location.href.split("#")[0]);
  byId("viewport").focus();
});
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => byId("detail").close());
byId("theme").addEventListener("click", switchTheme);
byId("keys").addEventListener("click", () => byId("help").showModal());
fillHeader();
listenToFilters();
applyFilters();
byId("viewport").focus();
addEventListener("hashchange", openWanted);
openWanted();
