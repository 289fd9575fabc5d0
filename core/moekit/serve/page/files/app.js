// The page: kits, images, and a card for each kit and image.

import { Fault, askImage, getJson, useToken } from "./api.js";
import { Cameras } from "./cameras.js";
import { Card } from "./card.js";
import { byId, el, faultBox, own, say, uniqueId } from "./dom.js";
import { Review } from "./review.js";

const MOST_IMAGES = 32;
let kits = [];
let images = [];
let working = Promise.resolve();
const review = new Review((file) => addFiles([file]));
const cameras = new Cameras((name) => kits.some((kit) => kit.name === name && kit.on));

class Shown {
  constructor(file) {
    this.file = file;
    this.cards = new Map();
    const title = uniqueId("image");
    const remove = el("button", { type: "button", className: "plain", "aria-label": `Remove ${file.name || "the image"}`, onclick: () => this.remove() }, "Remove");
    this.grid = el("div", { className: "cards" });
    this.notes = el("div");
    this.element = el("section", { className: "image", "aria-labelledby": title }, el("div", { className: "head" }, el("h2", { id: title }, file.name || "pasted image"), remove), this.notes, this.grid);
  }

  remove() {
    this.gone = true;
    images = images.filter((one) => one !== this);
    this.element.remove();
    byId("empty").hidden = images.length > 0;
    byId("file").focus();
  }

  // Asks the kits that are switched on and have no card yet; hides the others.
  async update() {
    const wanted = kits.filter((kit) => kit.on);
    for (const kit of wanted) {
      if (!this.cards.has(kit.name)) this.cards.set(kit.name, new Card(kit, this.file, { onRefused: askForToken, onCorrected: () => review.start() }));
    }
    const missing = wanted.filter((kit) => !this.cards.get(kit.name).entry);
    this.grid.replaceChildren(...wanted.map((kit) => this.cards.get(kit.name).element));
    if (!missing.length || this.gone) return;
    say(`${this.file.name || "The image"} is asked…`);
    try {
      const onWait = (seconds) => say(`The server is busy; it is asked again in ${seconds} s.`);
      const entry = await askImage(this.file, { kits: missing.map((kit) => kit.name), overlays: true, drafts: missing.some((kit) => kit.corrects), onWait });
      this.take(entry, missing);
    } catch (error) {
      this.fail(error, missing);
    }
  }

  take(entry, asked) {
    this.notes.replaceChildren();
    if (entry.error) {
      this.notes.append(faultBox(entry.error));
      asked.forEach((kit) => this.cards.delete(kit.name));
      this.grid.replaceChildren();
      say(`${this.file.name || "The image"} cannot be read.`);
      return;
    }
    const told = Object.keys(entry.remarks);
    if (told.length) this.notes.append(el("p", { className: "quiet small" }, `Guessed when it was read: ${told.join(", ").replaceAll("-", " ")}`));
    for (const kit of asked) this.cards.get(kit.name).take(entry, entry.picture);
    const verdicts = asked.map((kit) => `${kit.name}: ${own(entry.answers, kit.name)?.verdict ?? "no answer"}`);
    say(`${this.file.name || "The image"} — ${verdicts.join("; ")}`);
  }

  fail(error, asked) {
    for (const kit of asked) this.cards.delete(kit.name);
    this.grid.replaceChildren(...kits.filter((kit) => kit.on && this.cards.has(kit.name)).map((kit) => this.cards.get(kit.name).element));
    const fault = error instanceof Fault ? error.fault : { what: String(error) };
    const again = el("button", { type: "button", className: "plain", onclick: () => { this.notes.replaceChildren(); inTurn(() => this.update()); } }, "Ask again");
    this.notes.replaceChildren(faultBox(fault), again);
    say("There is no answer.");
    if (error.status === 401) askForToken();
  }
}

// Images are asked one after the other, so that a page never fills the server's queue.
function inTurn(work) {
  working = working.then(work, work);
  return working;
}

function addFiles(files) {
  const taken = [...files].slice(0, MOST_IMAGES);
  if (!taken.length || byId("asking").hidden) return;
  for (const file of taken.toReversed()) {
    const one = new Shown(file);
    images.unshift(one);
    byId("images").prepend(one.element);
  }
  byId("empty").hidden = true;
  for (const one of images.slice(0, taken.length)) inTurn(() => one.update());
  if (files.length > MOST_IMAGES) say(`The first ${MOST_IMAGES} images are taken.`);
}

function showKits() {
  const list = byId("kits");
  list.replaceChildren();
  for (const kit of kits) {
    const box = el("input", { type: "checkbox", checked: kit.on, id: uniqueId("switch") });
    box.addEventListener("change", () => {
      kit.on = box.checked;
      for (const one of images) inTurn(() => one.update());
    });
    const about = [`${kit.task} by ${kit.kit}`, kit.caution, kit.disclaimer].filter(Boolean);
    list.append(el("div", { className: "kit" }, el("label", { htmlFor: box.id }, box, kit.name), ...about.map((text) => el("p", {}, text))));
  }
}

function askForToken() {
  byId("token-form").hidden = false;
  byId("asking").hidden = true;
  byId("token").focus();
  say("This server asks for a token.");
}

async function connect() {
  try {
    const reply = await getJson("v1/kits");
    const off = new Set(kits.filter((kit) => !kit.on).map((kit) => kit.name));
    kits = reply.kits.map((kit) => ({ ...kit, on: !off.has(kit.name) }));
  } catch (error) {
    const fault = error instanceof Fault ? error.fault : { what: String(error) };
    if (error.status === 401) return false;
    byId("images").replaceChildren(faultBox(fault));
    say("The server cannot be asked.");
    return true;
  }
  byId("token-form").hidden = true;
  byId("asking").hidden = false;
  byId("empty").hidden = images.length > 0;
  showKits();
  say(`${kits.length} ${kits.length === 1 ? "kit is" : "kits are"} served.`);
  for (const one of images) inTurn(() => one.update());
  cameras.start();
  review.start();
  return true;
}

byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("token");
  const fault = byId("token-fault");
  fault.hidden = true;
  useToken(/^[\x21-\x7e]+$/.test(field.value) ? field.value : "");
  if (await connect()) {
    field.value = "";
    byId("file").focus();
  } else {
    fault.textContent = "The server does not take this token.";
    fault.hidden = false;
    field.focus();
  }
});

byId("file").addEventListener("change", (event) => {
  addFiles(event.target.files);
  event.target.value = "";
});
let inside = 0;
for (const name of ["dragenter", "dragleave", "dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    inside = name === "drop" ? 0 : inside + (name === "dragenter") - (name === "dragleave");
    document.body.classList.toggle("dragging", inside > 0);
    if (name === "drop") addFiles(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));

if (!(await connect())) askForToken();
