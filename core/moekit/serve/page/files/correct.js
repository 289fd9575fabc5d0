// The panel by which an answer is confirmed or corrected.

import { sendCorrection } from "./api.js";
import { BrushEditor } from "./brush.js";
import { el, faultBox, pictureSource, say, uniqueId } from "./dom.js";
import { ObjectsEditor, classSelect } from "./objects.js";

const MOST_PIXELS = 2 ** 24;
const MOST_RADIOS = 8;
let by = "";

export class Corrector {
  constructor(kit, file, { onSaved }) {
    this.kit = kit;
    this.file = file;
    this.onSaved = onSaved;
    this.body = el("div");
    this.told = el("p", { className: "small", role: "status" });
    this.element = el("details", { className: "correct", ontoggle: () => this.element.open && this.open() }, el("summary", {}, "Confirm or correct"), this.body, this.told);
  }

  // Takes an answer with its draft, as /v1/answer has them.
  take(answer, picture) {
    this.answer = answer;
    this.picture = picture;
    this.draft = answer.shown?.draft;
    this.element.hidden = !this.draft;
    this.opened = false;
    if (this.element.open) this.open();
  }

  open() {
    if (this.opened || !this.draft) return;
    this.opened = true;
    this.told.replaceChildren();
    this.changed = false;
    const { label } = this.draft;
    this.editor = this.makeEditor(label);
    const confirm = el("button", { type: "button", disabled: !label, onclick: () => this.save(label, true) }, "Confirm the answer");
    this.keep = el("button", { type: "button", disabled: true, onclick: () => this.save(null, false) }, "Save the correction");
    const name = el("input", { type: "text", value: by, maxLength: 200, autocomplete: "name", id: uniqueId("by"), oninput: () => { by = name.value; } });
    this.body.replaceChildren(
      ...(label ? [] : [el("p", { className: "quiet small" }, "This answer is left open; say what is right.")]),
      ...(this.editor ? [this.editor.element] : [el("p", { className: "quiet small" }, "It is too large, or has too many classes, to be drawn on here.")]),
      el("div", { className: "row" }, el("label", { htmlFor: name.id }, "Your name (if it is to be kept)"), name),
      el("div", { className: "row" }, confirm, this.keep),
    );
  }

  makeEditor(label) {
    const { corrects } = this.kit;
    const onChange = () => { this.changed = true; this.keep.disabled = false; this.told.replaceChildren(); };
    if (corrects.form === "class") return new ClassEditor({ label, corrects, name: this.kit.name, onChange });
    const { size } = this.draft;
    if (size[0] * size[1] > MOST_PIXELS || !this.picture) return null;
    const how = { label, size, corrects, source: pictureSource(this.picture), picture: this.picture, onChange };
    if (corrects.form === "objects") return new ObjectsEditor(how);
    return corrects.ignored > 255 ? null : new BrushEditor(how);
  }

  async save(label, confirmed) {
    const buttons = this.body.querySelectorAll("button");
    const before = [...buttons].map((one) => one.disabled);
    buttons.forEach((one) => { one.disabled = true; });
    this.told.replaceChildren("is sent…");
    try {
      const said = { kit: this.kit.name, label: label ?? await this.editor.label(), confirmed, by, receipt: this.answer.receipt };
      const reply = await sendCorrection(this.file, said);
      const words = reply.stored ? `${confirmed ? "Confirmed" : "Corrected"}: number ${reply.number} of ${this.kit.name}${reply.supersedes ? ", in place of an earlier one" : ""}.` : "This was kept already.";
      this.told.replaceChildren(words);
      say(words);
      this.onSaved?.();
    } catch (error) {
      this.told.replaceChildren(faultBox(error.fault ?? { what: String(error) }));
    } finally {
      buttons.forEach((one, place) => { one.disabled = before[place]; });
    }
  }
}

// One class by radio buttons, or of many by a list; several by checkboxes.
class ClassEditor {
  constructor({ label, corrects, name, onChange }) {
    this.corrects = corrects;
    const chosen = label?.classes ?? [];
    if (!corrects.several && corrects.classes.length > MOST_RADIOS) {
      const empty = "choose a class";
      this.select = classSelect([empty, ...corrects.classes], chosen[0] ?? empty, `Right class for ${name}`);
      this.select.addEventListener("change", onChange);
      this.element = el("div", { className: "row" }, this.select);
      return;
    }
    const group = uniqueId("class");
    this.boxes = corrects.classes.map((one) => el("input", { type: corrects.several ? "checkbox" : "radio", name: group, value: one, checked: chosen.includes(one), id: uniqueId("choice"), onchange: onChange }));
    this.element = el("fieldset", {}, el("legend", {}, corrects.several ? "All classes it is of" : "It is"), ...this.boxes.map((box) => el("label", { className: "check", htmlFor: box.id }, box, box.value)));
  }

  async label() {
    const classes = this.select ? [this.select.value].filter((one) => this.corrects.classes.includes(one)) : this.boxes.filter((box) => box.checked).map((box) => box.value);
    return { form: "class", classes };
  }
}
