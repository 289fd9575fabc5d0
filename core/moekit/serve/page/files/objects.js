// Objects of an image: boxes that are drawn or typed, and outlines that are painted.

import { Drawing, channelsOf, colourOf, overlay, stroke } from "./canvas.js";
import { el, uniqueId } from "./dom.js";
import { boxAround, countsOf, expanded, maskOf, polygonMask } from "./runs.js";

const LEAST = 2;

export class ObjectsEditor {
  constructor({ label, size, corrects, source, picture, onChange }) {
    this.corrects = corrects;
    this.onChange = onChange;
    [this.rows, this.columns] = size;
    this.objects = (label?.objects ?? []).map((one) => this.read(one));
    this.chosen = this.objects.length ? 0 : -1;
    this.kind = classSelect(corrects.classes, corrects.classes[0]);
    this.list = el("ol", { className: "objects" });
    const tool = uniqueId("tool");
    this.brush = el("input", { type: "radio", name: tool, id: uniqueId("brush"), checked: corrects.outlined });
    this.rubber = el("input", { type: "radio", name: tool, id: uniqueId("rubber") });
    this.radius = el("input", { type: "range", min: "1", max: String(Math.max(4, Math.round(Math.min(...size) / 6))), value: String(Math.max(2, Math.round(Math.min(...size) / 40))), id: uniqueId("radius") });
    this.drawing = new Drawing({
      source,
      picture,
      size,
      label: corrects.outlined ? "The image, to paint outlines on" : "The image, to draw boxes on",
      help: corrects.outlined
        ? "Paint the chosen object. By keyboard: arrows move the mark, Space begins and ends painting."
        : "Drag to draw a box. By keyboard: arrows move the mark, Space sets its first and its last corner; or type numbers.",
      paint: (context, scale) => this.paint(context, scale),
      begin: (x, y) => this.begin(x, y),
      move: (x, y) => this.move(x, y),
      end: (x, y) => this.end(x, y),
    });
    const add = el("button", { type: "button", className: "plain", onclick: () => this.add() }, "Add an object");
    const tools = corrects.outlined ? [
      el("label", { className: "check", htmlFor: this.brush.id }, this.brush, "Brush"),
      el("label", { className: "check", htmlFor: this.rubber.id }, this.rubber, "Eraser"),
      el("label", { htmlFor: this.radius.id }, "Size"), this.radius,
    ] : [];
    this.element = el("div", {}, el("div", { className: "row" }, el("label", { htmlFor: this.kind.id }, "Class of new objects"), this.kind, add), el("div", { className: "row" }, ...tools), this.drawing.element, this.list);
    this.showList();
  }

  read(one) {
    const made = { class: one.class, box: one.box, mask: null };
    if (this.corrects.outlined && one.segmentation) {
      const given = one.segmentation;
      made.mask = Array.isArray(given) ? polygonMask(given, this.rows, this.columns) : maskOf(typeof given.counts === "string" ? expanded(given.counts) : given.counts, this.rows, this.columns);
    }
    return made;
  }

  add() {
    const mask = this.corrects.outlined ? new Uint8Array(this.rows * this.columns) : null;
    const box = [0.4 * this.columns, 0.4 * this.rows, 0.2 * this.columns, 0.2 * this.rows].map(Math.round);
    this.objects.push({ class: this.kind.value, box: mask ? null : box, mask });
    this.choose(this.objects.length - 1);
    this.onChange();
  }

  choose(place) {
    this.chosen = place;
    this.showList();
    this.drawing.show();
  }

  begin(x, y) {
    this.from = [x, y];
    if (!this.corrects.outlined) return;
    if (this.chosen < 0) this.add();
    this.move(x, y);
  }

  move(x, y) {
    if (!this.corrects.outlined) {
      this.drawn = [Math.min(x, this.from[0]), Math.min(y, this.from[1]), Math.abs(x - this.from[0]), Math.abs(y - this.from[1])];
      return;
    }
    const one = this.objects[this.chosen];
    stroke(one.mask, this.columns, this.rows, this.from, [x, y], Number(this.radius.value), this.rubber.checked ? 0 : 1);
    this.from = [x, y];
  }

  end(x, y) {
    this.move(x, y);
    if (this.corrects.outlined) {
      const one = this.objects[this.chosen];
      one.box = boxAround(one.mask, this.rows, this.columns);
    } else {
      const box = this.drawn.map(Math.round);
      this.drawn = null;
      if (box[2] < LEAST || box[3] < LEAST) return;
      this.objects.push({ class: this.kind.value, box, mask: null });
      this.chosen = this.objects.length - 1;
    }
    this.showList();
    this.onChange();
  }

  paint(context, scale) {
    this.objects.forEach((one, place) => {
      const number = this.corrects.classes.indexOf(one.class);
      if (one.mask) overlay(context, one.mask, this.columns, this.rows, (value) => (value ? channelsOf(number) : null));
      if (one.box) frame(context, one.box, scale, colourOf(number), place === this.chosen ? 4 : 2);
    });
    if (this.drawn) frame(context, this.drawn, scale, colourOf(this.corrects.classes.indexOf(this.kind.value)), 2);
  }

  showList() {
    this.list.replaceChildren(...this.objects.map((one, place) => this.entry(one, place)));
  }

  entry(one, place) {
    const name = `Object ${place + 1}`;
    const kind = classSelect(this.corrects.classes, one.class, `Class of object ${place + 1}`);
    kind.addEventListener("change", () => { one.class = kind.value; this.drawing.show(); this.onChange(); });
    const numbers = this.corrects.outlined ? [] : ["left", "top", "width", "height"].map((word, side) => this.number(one, side, `${name}, ${word}`));
    const choose = el("button", { type: "button", className: "plain", "aria-pressed": String(place === this.chosen), onclick: () => this.choose(place) }, name);
    const remove = el("button", { type: "button", className: "plain", "aria-label": `Remove object ${place + 1}`, onclick: () => {
      this.objects.splice(place, 1);
      this.choose(Math.min(place, this.objects.length - 1));
      this.onChange();
    } }, "Remove");
    return el("li", { className: "row" }, choose, kind, ...numbers, remove);
  }

  number(one, side, label) {
    const most = side % 2 ? this.rows : this.columns;
    const field = el("input", { type: "number", min: "0", max: String(most), step: "any", value: String(Math.round(one.box[side] * 10) / 10), "aria-label": label });
    field.addEventListener("change", () => { if (field.value !== "") { one.box[side] = Number(field.value); this.drawing.show(); this.onChange(); } });
    return field;
  }

  // What is sent; an object that was added and never painted is none.
  async label() {
    const painted = this.objects.filter((one) => one.box);
    return {
      form: "objects",
      objects: painted.map((one) => ({
        class: one.class,
        box: one.box,
        ...(one.mask ? { segmentation: { size: [this.rows, this.columns], counts: countsOf(one.mask, this.rows, this.columns) } } : {}),
      })),
    };
  }
}

export function classSelect(classes, chosen, label) {
  const named = label ? { "aria-label": label } : {};
  return el("select", { id: uniqueId("class"), ...named }, ...classes.map((name) => el("option", { value: name, selected: name === chosen }, name)));
}

function frame(context, box, scale, colour, width) {
  const [x, y, w, h] = box.map((one) => one * scale);
  for (const [ink, wide] of [["#000", width + 2], [colour, width]]) {
    context.strokeStyle = ink;
    context.lineWidth = wide;
    context.strokeRect(x, y, w, h);
  }
}
