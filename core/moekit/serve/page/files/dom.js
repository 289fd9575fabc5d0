// Elements are made here and nowhere else. Texts of answers, kits and errors become text nodes.

const PROPERTIES = new Set([
  "alt", "autocomplete", "checked", "className", "colSpan", "disabled", "height", "hidden", "htmlFor", "id", "max",
  "maxLength", "min", "name", "open", "scope", "selected", "src", "step", "tabIndex", "type", "value", "width",
]);

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "role" || name.startsWith("aria-")) made.setAttribute(name, value);
    else if (PROPERTIES.has(name)) made[name] = value;
    else throw new Error(`no property ${name}`);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined && one !== ""));
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

export function say(text) {
  byId("status").textContent = text;
}

// A picture of the server as an address; anything but an image of a known type is refused.
export function pictureSource(picture) {
  const known = ["image/jpeg", "image/png"].includes(picture.media_type);
  return known && /^[A-Za-z0-9+/=]*$/.test(picture.base64) ? `data:${picture.media_type};base64,${picture.base64}` : "";
}

export function faultText(fault) {
  const where = fault.fix ? `${fault.what}: ${fault.fix}` : fault.what;
  return fault.code ? `${where} (${fault.code})` : where;
}

export function faultBox(fault) {
  return el("p", { className: "fault", role: "alert" }, faultText(fault));
}

// A value by a name that others chose, such as that of a kit; never one of every object's own.
export function own(object, name) {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

let count = 0;
export function uniqueId(word) {
  count += 1;
  return `${word}-${count}`;
}
