// The card of one kit for one image: its answer, what can be moved, and its routing.

import { askImage } from "./api.js";
import { Corrector } from "./correct.js";
import { el, faultBox, own, pictureSource, uniqueId } from "./dom.js";
import { routingView } from "./routing.js";
import { valuesList } from "./values.js";

const PATIENCE = 250;

export class Card {
  constructor(kit, file, { onRefused, onCorrected }) {
    this.kit = kit;
    this.file = file;
    this.picture = null;
    this.overlay = null;
    this.entry = null;
    this.onRefused = onRefused;
    this.level = null;
    this.going = {};
    const title = uniqueId("kit");
    this.body = el("div", { className: "part" });
    this.values = el("div", { className: "part" });
    this.controls = kit.level === null ? null : this.levelControls();
    this.routing = el("div");
    this.details = el("details", { hidden: true, ontoggle: () => this.details.open && this.askRouting() }, el("summary", {}, "Which experts fired where"), this.routing);
    this.corrector = kit.corrects ? new Corrector(kit, file, { onSaved: onCorrected }) : null;
    if (this.corrector) this.corrector.element.hidden = true;
    this.element = el("article", { className: "card", "aria-labelledby": title }, el("h3", { id: title }, kit.name), this.body, this.controls, this.values, this.corrector?.element, this.details);
    if (this.controls) this.controls.hidden = true;
    this.body.append(el("p", { className: "quiet" }, "is asked…"));
  }

  // Takes the entry of its image, as /v1/answer has it.
  take(entry, picture) {
    this.picture = picture ?? this.picture;
    const answer = own(entry.answers, this.kit.name);
    const fault = entry.error ?? own(entry.failed, this.kit.name);
    this.entry = entry;
    this.body.replaceChildren();
    this.values.replaceChildren();
    this.details.hidden = !answer;
    if (this.corrector) this.corrector.element.hidden = true;
    if (this.controls) this.controls.hidden = !answer;
    if (!answer) {
      this.body.append(faultBox(fault ?? { what: "there is no answer" }));
      return;
    }
    const shown = answer.shown;
    this.corrector?.take(answer, this.picture);
    this.body.append(el("p", { className: "verdict" }, answer.verdict));
    if (shown?.caption && shown.caption !== answer.verdict) this.body.append(el("p", { className: "quiet small" }, shown.caption));
    if (shown?.failed) this.body.append(faultBox(shown.failed));
    if (shown?.overlay && this.picture) this.body.append(this.stage(shown.overlay, answer.verdict));
    if (answer.values.error) this.body.append(faultBox({ what: String(answer.values.error) }));
    this.values.append(valuesList(answer.values), receipt(answer.receipt));
  }

  stage(overlay, verdict) {
    const drawn = pictureSource(overlay);
    const image = el("img", { src: drawn, alt: `${this.kit.name}: ${verdict}, drawn over the image`, width: overlay.width, height: overlay.height });
    const box = el("input", { type: "checkbox", checked: this.overlay ?? true, id: uniqueId("overlay") });
    const show = () => {
      this.overlay = box.checked;
      const one = box.checked ? overlay : this.picture;
      image.src = box.checked ? drawn : pictureSource(this.picture);
      image.width = one.width;
      image.height = one.height;
    };
    box.addEventListener("change", show);
    show();
    return el("div", {}, el("div", { className: "stage" }, image), el("label", { className: "check small", htmlFor: box.id }, box, "Show the answer over the image"));
  }

  levelControls() {
    const range = el("input", { type: "range", min: "0", max: "1", step: "any", id: uniqueId("level") });
    const number = el("input", { type: "number", min: "0", max: "1", step: "any", "aria-label": `Threshold of ${this.kit.name} as a number` });
    const reset = el("button", { type: "button", className: "plain", hidden: true }, "Back to the run's own");
    const own = this.kit.level;
    const set = (value) => {
      range.value = String(value);
      number.value = String(Number(Number(value).toPrecision(4)));
    };
    const move = (value, text) => {
      if (!(value >= 0 && value <= 1)) return;
      this.level = text === null ? null : value;
      reset.hidden = this.level === null;
      this.askSoon();
    };
    range.addEventListener("input", () => { number.value = String(Number(Number(range.value).toPrecision(4))); move(Number(range.value), range.value); });
    number.addEventListener("input", () => { if (number.value !== "") { range.value = number.value; move(Number(number.value), number.value); } });
    reset.addEventListener("click", () => { set(own); move(own, null); range.focus(); });
    set(own);
    return el("div", { className: "row" }, el("label", { htmlFor: range.id }, "Threshold"), range, number, reset);
  }

  askSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask({ overlays: true, drafts: Boolean(this.kit.corrects) }).then((entry) => entry && this.take(entry, entry.picture)), PATIENCE);
  }

  async askRouting() {
    if (this.routing.childElementCount) return;
    this.routing.replaceChildren(el("p", { className: "quiet" }, "is asked…"));
    const entry = await this.ask({ routing: true });
    const shown = entry && own(entry.answers, this.kit.name)?.shown;
    if (shown?.routing && this.picture) this.routing.replaceChildren(routingView(shown.routing, pictureSource(this.picture), this.picture));
    else if (entry) this.routing.replaceChildren(faultBox(shown?.failed ?? entry.error ?? own(entry.failed, this.kit.name) ?? { what: "there is no routing" }));
    else this.routing.replaceChildren();
  }

  // Asks this kit again; a later question takes the place of an earlier one of its kind.
  async ask(extras) {
    const kind = extras.routing ? "routing" : "answer";
    this.going[kind]?.abort();
    const going = new AbortController();
    this.going[kind] = going;
    if (kind === "answer") this.body.classList.add("busy");
    const levels = this.level === null ? {} : { [this.kit.name]: this.level };
    try {
      return await askImage(this.file, { kits: [this.kit.name], levels, signal: going.signal, ...extras });
    } catch (error) {
      if (error.name !== "AbortError") {
        this.body.prepend(faultBox(error.fault ?? { what: String(error) }));
        if (error.status === 401) this.onRefused();
      }
      return null;
    } finally {
      if (kind === "answer" && this.going[kind] === going) this.body.classList.remove("busy");
    }
  }
}

function receipt(hashes) {
  const list = el("dl");
  for (const [name, value] of Object.entries(hashes)) list.append(el("dt", { className: "wide" }, name.replaceAll("_", " ")), el("dd", { className: "wide" }, el("code", {}, String(value))));
  return el("details", {}, el("summary", {}, "Receipt"), list);
}
