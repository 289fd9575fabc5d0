// The class of each pixel, painted with a brush.

import { Drawing, channelsOf, overlay, stroke } from "./canvas.js";
import { el, uniqueId } from "./dom.js";
import { classSelect } from "./objects.js";
import { pngOf, valuesOf } from "./runs.js";
import { base64Of } from "./api.js";

const NOTHING = "does not count";
const KEPT = 5;

export class BrushEditor {
  constructor({ label, size, corrects, source, picture, onChange }) {
    this.corrects = corrects;
    this.onChange = onChange;
    [this.rows, this.columns] = size;
    this.values = new Uint8Array(this.rows * this.columns);
    this.before = [];
    const names = [...corrects.classes, ...(corrects.classes.includes(NOTHING) ? [] : [NOTHING])];
    this.kind = classSelect(names, corrects.classes[1] ?? corrects.classes[0]);
    const least = Math.min(...size);
    this.radius = el("input", { type: "range", min: "1", max: String(Math.max(4, Math.round(least / 6))), value: String(Math.max(2, Math.round(least / 30))), id: uniqueId("radius") });
    this.undo = el("button", { type: "button", className: "plain", disabled: true, onclick: () => this.back() }, "Undo");
    this.drawing = new Drawing({
      source,
      picture,
      size,
      label: "The image, to paint classes on",
      help: "Paint with the chosen class. By keyboard: arrows move the mark, Space begins and ends painting.",
      paint: (context) => overlay(context, this.values, this.columns, this.rows, (value) => this.colour(value)),
      begin: (x, y) => this.begin(x, y),
      move: (x, y) => this.move(x, y),
      end: (x, y) => { this.move(x, y); this.onChange(); },
    });
    const legend = el("ul", { className: "legend small" }, ...corrects.classes.slice(1, 25).map((name, place) => {
      const swatch = el("span", { className: "swatch", "aria-hidden": "true" });
      swatch.style.background = `rgb(${channelsOf(place + 1).join(" ")})`;
      return el("li", {}, swatch, name);
    }));
    this.element = el("div", {}, el("div", { className: "row" }, el("label", { htmlFor: this.kind.id }, "Paint as"), this.kind, el("label", { htmlFor: this.radius.id }, "Size of the brush"), this.radius, this.undo), this.drawing.element, legend);
    if (label) this.ready = valuesOf(label.png, this.rows, this.columns).then((values) => { this.values = values; this.drawing.show(); });
  }

  get value() {
    const place = this.corrects.classes.indexOf(this.kind.value);
    return place < 0 ? this.corrects.ignored : place;
  }

  // The first class is background as a rule, and stays as it is.
  colour(value) {
    if (value === 0) return null;
    return value === this.corrects.ignored ? [128, 128, 128] : channelsOf(value);
  }

  begin(x, y) {
    this.before.push(this.values.slice());
    if (this.before.length > KEPT) this.before.shift();
    this.undo.disabled = false;
    this.from = [x, y];
    this.move(x, y);
  }

  move(x, y) {
    stroke(this.values, this.columns, this.rows, this.from, [x, y], Number(this.radius.value), this.value);
    this.from = [x, y];
  }

  back() {
    this.values = this.before.pop();
    this.undo.disabled = !this.before.length;
    this.drawing.show();
    this.onChange();
  }

  async label() {
    await this.ready;
    return { form: "mask", png: await base64Of(await pngOf(this.values, this.rows, this.columns)) };
  }
}
