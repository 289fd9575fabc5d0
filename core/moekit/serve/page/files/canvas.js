// A picture that is drawn on, by pointer or by keyboard. Places are in pixels of the image itself.

import { el, uniqueId } from "./dom.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Drawing {
  // `paint(context, scale)` draws over the picture; `begin`, `move` and `end` take places (x, y).
  constructor({ source, picture, size, label, help, paint, begin, move, end }) {
    [this.rows, this.columns] = size;
    this.handlers = { begin, move, end };
    this.paint = paint;
    this.cursor = [Math.floor(this.columns / 2), Math.floor(this.rows / 2)];
    this.step = 1;
    const told = uniqueId("help");
    this.canvas = el("canvas", { width: picture.width, height: picture.height, tabIndex: 0, role: "application", "aria-label": label, "aria-describedby": told });
    this.scale = picture.width / this.columns;
    this.element = el("div", { className: "drawing" }, this.canvas, el("p", { className: "quiet small", id: told }, help));
    this.image = new Image();
    this.image.addEventListener("load", () => this.show());
    this.image.src = source;
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) this.canvas.addEventListener(name, (event) => this.pointer(name, event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["focus", "blur"]) this.canvas.addEventListener(name, () => this.show());
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.columns;
    const y = ((event.clientY - box.top) / box.height) * this.rows;
    return [Math.min(Math.max(x, 0), this.columns), Math.min(Math.max(y, 0), this.rows)];
  }

  pointer(name, event) {
    if (name === "pointerdown") {
      this.canvas.setPointerCapture(event.pointerId);
      this.going = true;
      this.cursor = this.place(event).map(Math.floor);
      this.handlers.begin(...this.place(event));
    } else if (this.going && name === "pointermove") this.handlers.move(...this.place(event));
    else if (this.going && name === "pointerup") this.handlers.end(...this.place(event));
    if (name === "pointerup" || name === "pointercancel") this.going = false;
    if (this.going || name === "pointerup") this.show();
  }

  // Arrows move a mark, with Shift by larger steps; Space begins, and ends what it began.
  key(event) {
    if (event.key === " ") {
      event.preventDefault();
      if (this.keyed) this.handlers.end(...this.cursor);
      else this.handlers.begin(...this.cursor);
      this.keyed = !this.keyed;
    } else if (event.key in STEPS) {
      event.preventDefault();
      const by = this.step * (event.shiftKey ? 10 : 1);
      const [x, y] = STEPS[event.key];
      this.cursor = [Math.min(Math.max(this.cursor[0] + by * x, 0), this.columns), Math.min(Math.max(this.cursor[1] + by * y, 0), this.rows)];
      if (this.keyed) this.handlers.move(...this.cursor);
    } else if (event.key === "Escape" && this.keyed) {
      this.keyed = false;
      this.handlers.end(...this.cursor);
    } else return;
    this.show();
  }

  show() {
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.image, 0, 0, this.canvas.width, this.canvas.height);
    this.paint(context, this.scale);
    if (document.activeElement !== this.canvas || !this.canvas.matches(":focus-visible")) return;
    const [x, y] = this.cursor.map((one) => one * this.scale);
    for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x - 8, y);
      context.lineTo(x + 8, y);
      context.moveTo(x, y - 8);
      context.lineTo(x, y + 8);
      context.stroke();
    }
  }
}

export function colourOf(number, alpha = 1) {
  return `hsl(${(number * 137.5 + 20) % 360} 85% 50% / ${alpha})`;
}

// Fills a disc of a mask of one byte a pixel.
export function stamp(values, columns, rows, x, y, radius, value) {
  const least = Math.max(0, Math.floor(y - radius));
  const most = Math.min(rows - 1, Math.ceil(y + radius));
  for (let row = least; row <= most; row += 1) {
    const reach = Math.sqrt(Math.max(0, radius ** 2 - (row + 0.5 - y) ** 2));
    const first = Math.max(0, Math.round(x - reach));
    const last = Math.min(columns, Math.round(x + reach));
    if (last > first) values.fill(value, row * columns + first, row * columns + last);
  }
}

export function stroke(values, columns, rows, from, to, radius, value) {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  const steps = Math.max(1, Math.ceil(length / Math.max(1, radius / 2)));
  for (let at = 0; at <= steps; at += 1) {
    const share = at / steps;
    stamp(values, columns, rows, from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), radius, value);
  }
}

// Draws the values of a mask over a picture; `colours(value)` gives [red, green, blue], or null for none.
export function overlay(context, values, columns, rows, colours) {
  const { width, height } = context.canvas;
  const pixels = context.getImageData(0, 0, width, height);
  for (let row = 0; row < height; row += 1) {
    const from = Math.min(rows - 1, Math.floor(((row + 0.5) * rows) / height)) * columns;
    for (let column = 0; column < width; column += 1) {
      const colour = colours(values[from + Math.min(columns - 1, Math.floor(((column + 0.5) * columns) / width))]);
      if (!colour) continue;
      const at = 4 * (row * width + column);
      for (let channel = 0; channel < 3; channel += 1) pixels.data[at + channel] = (pixels.data[at + channel] + colour[channel]) / 2;
    }
  }
  context.putImageData(pixels, 0, 0);
}

// Red, green and blue of the same hues as `colourOf`.
export function channelsOf(number) {
  const hue = (number * 137.5 + 20) % 360;
  return [0, 8, 4].map((offset) => {
    const k = (offset + hue / 30) % 12;
    return Math.round(255 * (0.5 - 0.425 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}
