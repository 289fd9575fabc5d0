// Images that are worth a look, from the server's list.

import { getBlob, getJson } from "./api.js";
import { byId, el, say } from "./dom.js";

const SHOWN = 20;

export class Review {
  constructor(addFile) {
    this.addFile = addFile;
  }

  async start() {
    try {
      this.show(await getJson(`v1/review?most=${SHOWN}`));
    } catch (error) {
      say(error.fault?.what ?? String(error));
    }
  }

  show({ images, left, listed }) {
    byId("review").hidden = listed === 0;
    byId("review-count").textContent = left ? `${left} ${left === 1 ? "image" : "images"} to look at, the most useful first` : "Every image of the list has been looked at.";
    byId("review-list").replaceChildren(...images.map((one) => {
      const open = el("button", { type: "button", className: "plain", "aria-label": `Open image ${one.rank} of the list: ${one.why}`, onclick: () => this.open(one) }, `Image ${one.rank}`);
      return el("li", {}, open, el("span", { className: "small" }, `${one.verdict}: ${one.why}`));
    }));
  }

  async open(one) {
    try {
      const blob = await getBlob(`v1/review/${one.image_sha256}`);
      this.addFile(new File([blob], `image ${one.rank} of the list`));
    } catch (error) {
      say(error.fault?.what ?? String(error));
    }
  }
}
