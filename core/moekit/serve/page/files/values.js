// The values of an answer, whatever its task: numbers, shares by name, lists of things.

import { el } from "./dom.js";

const MOST_BARS = 8;
const MOST_ROWS = 100;
const LEAST_SHARE = 0.0005;

export function valuesList(values) {
  const list = el("dl");
  for (const [key, given] of Object.entries(values)) {
    if (key === "verdict") continue;
    const value = unpacked(given);
    if (isNothing(value)) continue;
    const shares = sharesOf(value);
    const things = Array.isArray(value) && value.every(isPlainObject);
    const told = shares ? bars(shares) : things ? table(value) : inWords(value);
    if (things) list.append(el("dd", { className: "wide" }, el("details", {}, el("summary", {}, `${words(key)} (${value.length})`), told)));
    else list.append(el("dt", { className: shares ? "wide" : "" }, words(key)), el("dd", { className: shares ? "wide" : "" }, told));
  }
  return list;
}

export function words(key) {
  return key.replaceAll("_", " ");
}

export function percent(share) {
  return share > 0 && share < 0.001 ? "<0.1%" : `${(100 * share).toFixed(1)}%`;
}

export function bars(shares) {
  const shown = shares.filter(([, share]) => share >= LEAST_SHARE).slice(0, MOST_BARS);
  const list = el("ul", { className: "bars" });
  for (const [name, share] of shown) {
    const bar = el("span", { className: "bar", "aria-hidden": "true" });
    bar.style.width = `${100 * Math.min(1, share)}%`;
    list.append(el("li", {}, bar, el("span", {}, name), el("span", {}, percent(share))));
  }
  return list;
}

// Columns may hold JSON as text, as the tables of `moekit predict` do.
function unpacked(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function isNothing(value) {
  if (value === null || value === undefined || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function isPlainObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isShare(value) {
  return typeof value === "number" && value >= 0 && value <= 1;
}

// Pairs of name and share in falling order, of a list of pairs or an object; null for anything else.
function sharesOf(value) {
  const pairs = Array.isArray(value) ? value : isPlainObject(value) ? Object.entries(value) : [];
  const good = pairs.length > 0 && pairs.every((one) => Array.isArray(one) && one.length === 2 && typeof one[0] === "string" && isShare(one[1]));
  // Counts by name are no shares, even if all are 0 or 1.
  if (!good || (!Array.isArray(value) && pairs.every(([, share]) => Number.isInteger(share)) && pairs.length > 1)) return null;
  return pairs.toSorted((one, other) => other[1] - one[1]);
}

function inWords(value) {
  if (typeof value === "number") return numberText(value);
  if (typeof value === "string") return value;
  if (isPlainObject(value)) return Object.entries(value).map(([name, one]) => `${words(name)} ${inWords(one)}`).join(", ");
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  return String(value);
}

function numberText(value) {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

function table(things) {
  const columns = [...new Set(things.flatMap(Object.keys))];
  const head = el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, words(name))));
  const rows = things.slice(0, MOST_ROWS).map((one) => el("tr", {}, ...columns.map((name) => el("td", {}, inWords(one[name] ?? "")))));
  const body = el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
  const box = el("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": "table" }, body);
  return things.length > MOST_ROWS ? el("div", {}, box, el("p", { className: "quiet small" }, `and ${things.length - MOST_ROWS} more`)) : box;
}
