// The server's interface. The token lives in this module only.

let token = "";
const TRIES = 5;

export class Fault extends Error {
  constructor(status, fault) {
    super(fault.what);
    this.status = status;
    this.fault = fault;
  }
}

export function useToken(given) {
  token = given;
}

export async function getJson(path, signal) {
  return parsed(await send(path, { signal }));
}

// The entry of one image; it is sent without its name.
export async function askImage(blob, { kits, overlays = false, routing = false, drafts = false, levels = {}, signal, onWait }) {
  const form = new FormData();
  form.append("images", new Blob([blob]), "image");
  for (const kit of kits) form.append("kits", kit);
  form.append("overlays", String(overlays));
  form.append("routing", String(routing));
  form.append("drafts", String(drafts));
  for (const [kit, level] of Object.entries(levels)) form.append("levels", `${kit}=${level}`);
  for (let number = 1; ; number += 1) {
    const response = await send("v1/answer", { method: "POST", body: form, signal });
    if (response.status === 429 && number < TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      onWait?.(seconds);
      await pause(seconds * 1000, signal);
      continue;
    }
    const reply = await parsed(response, true);
    const entry = reply.images?.[0];
    if (entry) return entry;
    throw new Fault(response.status, reply.error ?? odd(response));
  }
}

// Keeps what is said of an image. The key makes it safe to send again what may have arrived.
export async function sendCorrection(blob, said) {
  const body = JSON.stringify({ ...said, image: await base64Of(blob), key: randomKey() });
  for (let number = 1; ; number += 1) {
    try {
      return await parsed(await send("v1/corrections", { method: "POST", body, headers: { "Content-Type": "application/json" } }));
    } catch (error) {
      if (number === TRIES || (error.status !== 0 && error.status !== 429)) throw error;
      await pause(number * 1000);
    }
  }
}

export async function getBlob(path) {
  const response = await send(path, {});
  return response.ok ? response.blob() : parsed(response);
}

export async function base64Of(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
}

// Events of a server-sent stream, with the token that an EventSource could not show.
export async function* events(path, signal) {
  const response = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  if (!response.ok) await parsed(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const pieces = (rest + value).split("\n\n");
    rest = pieces.pop();
    for (const piece of pieces) {
      const lines = piece.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
    }
  }
}

async function send(path, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    return await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault(0, { code: "", what: "the server does not answer", fix: "check that it runs" });
  }
}

async function parsed(response, evenIfRefused = false) {
  let reply = null;
  try {
    reply = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (reply === null || typeof reply !== "object") throw new Fault(response.status, odd(response));
  if (!response.ok && !(evenIfRefused && reply.images?.length)) throw new Fault(response.status, reply.error ?? odd(response));
  return reply;
}

function odd(response) {
  return { code: "", what: `the server replies oddly, with ${response.status}`, fix: "look into its log" };
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    });
  });
}
