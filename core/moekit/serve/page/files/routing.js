// Which experts computed which part: one block at a time, drawn over the image.

import { el, uniqueId } from "./dom.js";
import { percent } from "./values.js";

const NONE = "none";

export function routingView(routing, source, picture) {
  const told = routing.blocks.filter((one) => !one.all && one.chosen.length);
  const full = routing.blocks.filter((one) => one.all);
  const box = el("div");
  if (full.length) box.append(el("p", { className: "quiet small" }, fullText(full)));
  if (!told.length) {
    box.append(el("p", {}, "No block of this kit chooses among experts."));
    return box;
  }
  const select = el("select", { id: uniqueId("block") });
  told.forEach((one, place) => select.append(el("option", { value: String(place) }, blockName(one))));
  select.value = String(Math.max(0, told.findLastIndex((one) => one.of_kit)));
  const canvas = el("canvas", { width: picture.width, height: picture.height, role: "img" });
  const stage = el("div", { className: "stage" }, el("img", { src: source, alt: "", width: picture.width, height: picture.height }), canvas);
  const legend = el("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": "experts of the block" });
  const show = () => {
    const block = told[Number(select.value)];
    paint(canvas, routing, block);
    canvas.setAttribute("aria-label", `${blockName(block)}: the table below says how much each expert has`);
    legend.replaceChildren(legendTable(block));
  };
  select.addEventListener("change", show);
  box.append(el("div", { className: "row" }, el("label", { htmlFor: select.id }, "Block"), select), stage, legend);
  show();
  return box;
}

function blockName(one) {
  return one.of_kit ? `${one.block}, the kit's specialists` : `${one.block}, generic experts`;
}

function fullText(full) {
  const count = full[0].experts.length;
  const numbers = full.map((one) => one.block);
  const named = numbers.length > 3 ? `${numbers[0]} to ${numbers.at(-1)}` : numbers.join(", ");
  return `In ${full.length === 1 ? "block" : "blocks"} ${named} every patch has all ${count} generic experts, so none is chosen.`;
}

function colourOf(expert, block) {
  if (block.experts[expert] === NONE && block.of_kit) return "rgb(128, 128, 128)";
  const hue = (expert * 137.508 + 20) % 360;
  return `hsl(${hue} 85% ${expert % 2 ? 45 : 58}%)`;
}

// Cells are drawn where they lie in the image; the border of a letterbox is left out.
function paint(canvas, routing, block) {
  const context = canvas.getContext("2d");
  const [left, top, width, height] = routing.box;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const most = Math.max(...block.weight, 1e-6);
  for (let row = 0; row < routing.rows; row += 1) {
    for (let column = 0; column < routing.columns; column += 1) {
      const expert = block.chosen[row * routing.columns + column];
      if (expert < 0) continue;
      const weight = block.weight[row * routing.columns + column] / most;
      const isNone = block.of_kit && block.experts[expert] === NONE;
      context.globalAlpha = isNone ? 0.12 : 0.2 + 0.45 * weight;
      context.fillStyle = colourOf(expert, block);
      const x0 = ((column / routing.columns - left) / width) * canvas.width;
      const x1 = (((column + 1) / routing.columns - left) / width) * canvas.width;
      const y0 = ((row / routing.rows - top) / height) * canvas.height;
      const y1 = (((row + 1) / routing.rows - top) / height) * canvas.height;
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
  }
  context.globalAlpha = 1;
}

function legendTable(block) {
  const patches = block.chosen.length;
  const rows = block.experts.map((name, expert) => {
    const first = block.chosen.filter((one) => one === expert).length / patches;
    const swatch = el("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = colourOf(expert, block);
    return [block.load[expert], el("tr", {}, el("td", {}, swatch, ` ${name}`), el("td", {}, percent(first)), el("td", {}, percent(block.load[expert])))];
  });
  rows.sort((one, other) => other[0] - one[0]);
  const head = el("tr", {}, ...["expert", "first in", "share of weight"].map((name) => el("th", { scope: "col" }, name)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows.map(([, row]) => row)));
}
