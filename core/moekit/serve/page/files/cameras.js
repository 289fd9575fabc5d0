// Cameras: counts and latencies of all, and live answers of those that are watched, by one connection.

import { events, getJson } from "./api.js";
import { byId, el, faultText, own, pictureSource, uniqueId } from "./dom.js";

const LOOK_EVERY = 2000;
const TRY_AGAIN = 3000;

export class Cameras {
  constructor(kitIsOn) {
    this.kitIsOn = kitIsOn;
    this.cards = new Map();
    this.going = null;
  }

  async start() {
    if (this.timer) return;
    this.timer = -1;
    if (await this.look()) this.timer = setInterval(() => document.hidden || this.look(), LOOK_EVERY);
    else this.timer = null;
  }

  // Whether there are cameras at all.
  async look() {
    let told = [];
    try {
      told = (await getJson("v1/cameras")).cameras;
    } catch {
      return this.cards.size > 0;
    }
    byId("cameras").hidden = told.length === 0;
    for (const camera of told) {
      if (!this.cards.has(camera.name)) {
        const card = new CameraCard(camera.name, () => this.watch());
        this.cards.set(camera.name, card);
        byId("camera-list").append(card.element);
      }
      this.cards.get(camera.name).tell(camera);
    }
    return told.length > 0;
  }

  // Listens to the cameras that are switched on; one connection, since browsers allow few.
  async watch() {
    this.going?.abort();
    const watched = [...this.cards.values()].filter((card) => card.isWatched);
    if (!watched.length) return;
    const going = new AbortController();
    this.going = going;
    const query = watched.map((card) => `camera=${encodeURIComponent(card.name)}`).join("&");
    while (!going.signal.aborted) {
      try {
        for await (const event of events(`v1/cameras/events?overlays=true&${query}`, going.signal)) this.cards.get(event.camera)?.show(event, this.kitIsOn);
      } catch (error) {
        if (going.signal.aborted) return;
      }
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN));
    }
  }
}

class CameraCard {
  constructor(name, onWatch) {
    this.name = name;
    const title = uniqueId("camera");
    this.facts = el("dl");
    this.fault = el("p", { className: "fault", hidden: true });
    this.live = el("div", { className: "part" });
    this.box = el("input", { type: "checkbox", id: uniqueId("watch"), "aria-label": `Watch ${name} live` });
    this.box.addEventListener("change", () => {
      if (!this.isWatched) this.live.replaceChildren();
      onWatch();
    });
    const label = el("label", { className: "check", htmlFor: this.box.id }, this.box, "Watch live");
    this.element = el("article", { className: "card", "aria-labelledby": title }, el("h3", { id: title }, name), this.fault, this.facts, label, this.live);
  }

  get isWatched() {
    return this.box.checked;
  }

  tell(camera) {
    this.fault.hidden = !camera.error;
    this.fault.textContent = camera.error ? faultText(camera.error) : "";
    const rows = [["state", camera.retries ? `${camera.state}, tried again ${camera.retries} times` : camera.state]];
    rows.push(["frames", `${camera.answered} answered, ${camera.dropped} dropped, ${camera.failed} failed`]);
    if (camera.latency_s) rows.push(["latency", ["p50", "p95", "p99"].map((name) => `${name} ${milliseconds(camera.latency_s[name])}`).join(", ")]);
    this.facts.replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  show(event, kitIsOn) {
    if (!this.isWatched) return;
    const { answer } = event;
    const parts = [el("p", { className: "quiet small" }, `frame ${event.frame}, ${milliseconds(event.latency_s)} after it came`)];
    if (answer.error) parts.push(el("p", { className: "fault" }, faultText(answer.error)));
    for (const kit of Object.keys(answer.answers).filter(kitIsOn)) {
      const { verdict, shown } = own(answer.answers, kit);
      const picture = shown?.overlay ?? answer.picture;
      parts.push(el("p", {}, el("strong", {}, kit), ` ${verdict}`));
      if (picture) parts.push(el("div", { className: "stage" }, el("img", { src: pictureSource(picture), alt: `${kit}: ${verdict}`, width: picture.width, height: picture.height })));
    }
    for (const [kit, fault] of Object.entries(answer.failed)) {
      if (!answer.error && kitIsOn(kit)) parts.push(el("p", { className: "fault" }, `${kit}: ${faultText(fault)}`));
    }
    this.live.replaceChildren(...parts);
  }
}

function milliseconds(seconds) {
  return `${(1000 * seconds).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
}
