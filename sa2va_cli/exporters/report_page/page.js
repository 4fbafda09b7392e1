"use strict";
// The page's data are in #data; whatever comes from there goes into the page as text, never as
// markup. Masks of an item come from a script beside the page, when the item is opened.

const data = JSON.parse(document.getElementById("data").textContent);
const items = data.items.concat(data.failures.map((failure) => ({ ...failure, failed: true })));
const CARD = { width: 230, height: 232, gap: 14 };
const byId = (id) => document.getElementById(id);

// ---------------------------------------------------------------- what is known of each item
for (const [index, item] of items.entries()) {
  item.index = index;
  item.answers = item.answers || [];
  item.objects = item.objects || [];
  const found = item.objects.filter((object) => object.found);
  item.found = found.length;
  item.scores = found.map((object) => object.score);
  item.low = Math.min(...item.scores, Infinity);
  item.high = Math.max(...item.scores, -Infinity);
  item.presence = item.answers.map((answer) => answer.presence).filter((p) => p !== undefined);
  item.prompts = new Set(item.answers.map((answer) => answer.prompt));
  item.text = [item.id, item.reason || "", ...item.answers.map((a) => `${a.prompt} ${a.text}`),
    ...item.objects.map((object) => object.label)].join("\n").toLowerCase();
}
const allPrompts = [...new Set(items.flatMap((item) => [...item.prompts]))].sort();
const STATES = {
  all: () => true,
  "with objects": (item) => item.found > 0,
  empty: (item) => !item.failed && item.found === 0,
  failed: (item) => Boolean(item.failed),
  images: (item) => item.kind === "image",
  videos: (item) => item.kind === "video",
};
const filters = { state: "all", prompt: "", search: "", low: 0, high: 1, from: 0, to: 1, sort: "name" };
let shown = [];
let current = 0;

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

const percent = (score) => score.toFixed(2);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// ---------------------------------------------------------------- filters
function matches(item) {
  if (!STATES[filters.state](item)) return false;
  if (filters.prompt && !item.prompts.has(filters.prompt)) return false;
  if (filters.search && !item.text.includes(filters.search)) return false;
  if (!within(objectScores(item), filters.low, filters.high)) return false;
  return within(item.presence, filters.from, filters.to);
}

function within(values, low, high) {
  return (low <= 0 && high >= 1) || values.some((value) => value >= low && value <= high);
}

function objectScores(item) { // of the objects that the chosen prompt led to
  if (!filters.prompt) return item.scores;
  const chosen = new Set(item.answers.filter((a) => a.prompt === filters.prompt).map((a) => a.p));
  return item.objects.filter((o) => o.found && chosen.has(o.p)).map((o) => o.score);
}

const ORDERS = {
  name: (a, b) => a.index - b.index,
  low: (a, b) => a.low - b.low || a.index - b.index,
  high: (a, b) => b.high - a.high || a.index - b.index,
  many: (a, b) => b.found - a.found || a.index - b.index,
};

function applyFilters() {
  shown = items.filter(matches);
  if (filters.sort !== "name") shown.sort(ORDERS[filters.sort]);
  current = 0;
  byId("viewport").scrollTop = 0;
  byId("shown").textContent = `${plural(shown.length, "item")} of ${items.length.toLocaleString("en")}`;
  byId("nothing").hidden = shown.length > 0;
  drawHistogram("histogram", items.flatMap((item) => item.scores), filters.low, filters.high);
  drawHistogram("presence-histogram", items.flatMap((i) => i.presence), filters.from, filters.to);
  for (const chip of byId("states").children) {
    chip.setAttribute("aria-pressed", String(chip.dataset.state === filters.state));
  }
  layOut();
}

function drawHistogram(id, values, low, high) {
  const bins = new Array(20).fill(0);
  for (const value of values) bins[Math.min(Math.floor(value * 20), 19)] += 1;
  const most = Math.max(...bins, 1);
  const bars = bins.map((count, bin) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = count ? Math.max((count / most) * 52, 1.5) : 0;
    const place = { x: bin * 12 + 1, y: 54 - height, width: 10, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value);
    if ((bin + 1) / 20 > low && bin / 20 <= high) bar.classList.add("in");
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${percent(bin / 20)} to ${percent((bin + 1) / 20)}: ${count}`;
    bar.append(title);
    return bar;
  });
  byId(id).replaceChildren(...bars);
}

// ---------------------------------------------------------------- the grid: only what is in view
const cards = new Map(); // place in `shown` -> its card
let columns = 1;
let cardWidth = CARD.width;

function layOut() {
  const width = byId("viewport").clientWidth - CARD.gap;
  columns = Math.max(Math.floor(width / (CARD.width + CARD.gap)), 1);
  cardWidth = Math.floor(width / columns) - CARD.gap;
  const rows = Math.ceil(shown.length / columns);
  byId("grid").style.height = `${rows * (CARD.height + CARD.gap) + CARD.gap}px`;
  byId("grid").replaceChildren();
  cards.clear();
  render();
}

function render() {
  const view = byId("viewport");
  const row = CARD.height + CARD.gap;
  const first = Math.max(Math.floor(view.scrollTop / row) - 1, 0) * columns;
  const last = Math.min(Math.ceil((view.scrollTop + view.clientHeight) / row + 1) * columns, shown.length);
  for (const [place, card] of cards) {
    if (place < first || place >= last) {
      card.remove();
      cards.delete(place);
    }
  }
  for (let place = first; place < last; place += 1) {
    if (!cards.has(place)) {
      const card = makeCard(shown[place], place);
      cards.set(place, card);
      byId("grid").append(card);
    }
  }
  markCurrent();
}

function makeCard(item, place) {
  const card = element("div", { className: "card", id: `card-${place}`, title: item.id });
  card.setAttribute("role", "option");
  Object.assign(card.style, {
    left: `${CARD.gap + (place % columns) * (cardWidth + CARD.gap)}px`,
    top: `${CARD.gap + Math.floor(place / columns) * (CARD.height + CARD.gap)}px`,
    width: `${cardWidth}px`,
    height: `${CARD.height}px`,
  });
  card.append(
    cardPicture(item),
    element("div", { className: "caption" },
      element("div", { className: "title", textContent: item.id }),
      element("div", { className: "badges" }, ...badges(item))),
  );
  card.addEventListener("click", () => { current = place; openDetail(); });
  return card;
}

function cardPicture(item) {
  if (item.failed) {
    return element("div", { className: "picture reason", textContent: item.reason });
  }
  const picture = element("div", { className: "picture" });
  if (item.thumb) {
    picture.append(element("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async" }));
  } else {
    picture.textContent = "no picture";
  }
  if (item.kind === "video") {
    picture.append(element("span", { className: "play", textContent: `▶ ${plural(item.frames, "frame")}` }));
  }
  return picture;
}

function badges(item) {
  if (item.failed) return [element("span", { className: "badge", textContent: "failed" })];
  if (!item.found) {
    const said = item.objects.length || !item.answers.some((answer) => answer.text);
    return [element("span", { className: "badge", textContent: said ? "nothing found" : "text" })];
  }
  return item.objects.filter((object) => object.found).slice(0, 4).map((object) => {
    const badge = element("span", { className: "badge", title: object.label },
      dot(object), percent(object.score));
    return badge;
  });
}

function dot(object) {
  const node = element("span", { className: "dot" });
  node.style.background = object.colour;
  return node;
}

function markCurrent() {
  for (const [place, card] of cards) card.classList.toggle("current", place === current);
  byId("viewport").setAttribute("aria-activedescendant", shown.length ? `card-${current}` : "");
}

function moveTo(place) {
  if (!shown.length) return;
  current = Math.min(Math.max(place, 0), shown.length - 1);
  const view = byId("viewport");
  const row = CARD.height + CARD.gap;
  const top = Math.floor(current / columns) * row;
  if (top < view.scrollTop) view.scrollTop = top;
  if (top + row + CARD.gap > view.scrollTop + view.clientHeight) {
    view.scrollTop = top + row + CARD.gap - view.clientHeight;
  }
  render();
}

// ---------------------------------------------------------------- top of the page
function fillHeader() {
  const counts = [
    ["item", items.length, ""],
    ["image", items.filter((item) => item.kind === "image").length, ""],
    ["video", items.filter((item) => item.kind === "video").length, ""],
    ["object", items.reduce((sum, item) => sum + item.found, 0), ""],
    ["empty", items.filter(STATES.empty).length, ""],
    ["failed", data.failures.length, data.failures.length ? "bad" : ""],
  ];
  for (const [word, count, kind] of counts) {
    const name = ["empty", "failed"].includes(word) || count === 1 ? word : `${word}s`;
    byId("counts").append(element("div", { className: kind },
      element("b", { textContent: count.toLocaleString("en") }), ` ${name}`));
  }
  for (const state of Object.keys(STATES)) {
    const chip = element("button", { type: "button", textContent: state });
    chip.dataset.state = state;
    chip.addEventListener("click", () => { filters.state = state; applyFilters(); });
    byId("states").append(chip);
  }
  byId("prompt").append(element("option", { value: "", textContent: "All prompts" }));
  for (const prompt of allPrompts.slice(0, 500)) {
    byId("prompt").append(element("option", { value: prompt, textContent: prompt }));
  }
  byId("presence-figure").hidden = !items.some((item) => item.presence.length);
}

function listenToFilters() {
  const set = (name, convert) => (event) => {
    filters[name] = convert(event.target.value);
    applyFilters();
  };
  const number = (fallback) => (text) => (Number.isFinite(parseFloat(text)) ? parseFloat(text) : fallback);
  byId("search").addEventListener("input", set("search", (text) => text.toLowerCase()));
  byId("prompt").addEventListener("change", set("prompt", String));
  byId("sort").addEventListener("change", set("sort", String));
  byId("low").addEventListener("input", set("low", number(0)));
  byId("high").addEventListener("input", set("high", number(1)));
  byId("presence-low").addEventListener("input", set("from", number(0)));
  byId("presence-high").addEventListener("input", set("to", number(1)));
  byId("reset").addEventListener("click", showAll);
}

function showAll() {
  Object.assign(filters, { state: "all", prompt: "", search: "", low: 0, high: 1, from: 0, to: 1 });
  for (const [id, value] of [["search", ""], ["prompt", ""], ["low", 0], ["high", 1],
    ["presence-low", 0], ["presence-high", 1]]) byId(id).value = value;
  applyFilters();
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const before = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = before === "dark" ? "light" : "dark";
}
