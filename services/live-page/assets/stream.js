// @ts-check
// The stream of data: server-sent events read with fetch, so that a request can carry a header. Reconnects with growing waits.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;

/** A stream that sends nothing for so long is dead; the server sends each second. */
const SILENCE = 8_000;

/** A hidden page, after so long, gives its place on the server to others. */
const HIDDEN = 5 * 60_000;

/**
 * Splits a stream of text into server-sent events.
 * Returns a function that takes the next piece and calls `take` for each event that is complete.
 * @param {(name: string, data: string) => void} take
 */
export function events(take) {
  let rest = "";
  return (/** @type {string} */ piece) => {
    rest += piece;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      let name = "message";
      let data = "";
      for (const line of rest.slice(0, end).split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      rest = rest.slice(end + 2);
      if (data) take(name, data);
    }
  };
}

/**
 * @typedef {{ state: "connecting" | "live" | "lost" | "paused", reason: string, next: number }} Link
 */

/** The connection to the server. */
export class Stream {
  /**
   * @param {string} path
   * @param {{ headers: () => Record<string, string>, refused: () => void, take: (name: string, data: any) => void, changed: (link: Link) => void }} parts
   */
  constructor(path, parts) {
    this.path = path;
    this.parts = parts;
    this.wait = FIRST_WAIT;
    /** @type {AbortController | null} */
    this.request = null;
    this.timer = 0;
    this.hidden = 0;
    /** @type {Link} */
    this.link = { state: "connecting", reason: "", next: 0 };
    document.addEventListener("visibilitychange", () => this.seen());
  }

  seen() {
    clearTimeout(this.hidden);
    if (document.visibilityState === "hidden") {
      this.hidden = setTimeout(() => this.pause(), HIDDEN);
    } else if (this.link.state === "paused" || this.link.state === "lost") {
      this.wait = FIRST_WAIT;
      this.open();
    }
  }

  pause() {
    clearTimeout(this.timer);
    this.set({ state: "paused", reason: "", next: 0 });
    this.request?.abort();
  }

  /** @param {Link} link */
  set(link) {
    this.link = link;
    this.parts.changed(link);
  }

  /** Connects, and again whenever the connection ends. */
  async open() {
    clearTimeout(this.timer);
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    this.set({ state: "connecting", reason: this.link.reason, next: 0 });
    let reason = "the connection ended";
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => request.abort(new Error("nothing received for 8 s")), SILENCE);
    };
    heard();
    try {
      const answer = await fetch(this.path, { headers: this.parts.headers(), signal: request.signal, cache: "no-store" });
      if (!answer.ok || !answer.body) {
        const text = (await answer.text()).trim().slice(0, 300);
        if (answer.status === 401) {
          this.parts.refused();
          throw new Error("the page needs a token");
        }
        throw new Error(text || `the coordinator answered with status ${answer.status}`);
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const feed = events((name, data) => {
        this.wait = FIRST_WAIT;
        this.parts.take(name, JSON.parse(data));
        if (this.link.state !== "live") this.set({ state: "live", reason: "", next: 0 });
      });
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        heard();
        feed(value);
      }
    } catch (error) {
      // A refused connection has no better text than the browser's.
      reason = error instanceof TypeError ? "no connection" : error instanceof Error ? error.message : String(error);
    }
    clearTimeout(silence);
    request.abort();
    if (this.request !== request || /** @type {string} */ (this.link.state) === "paused") return;
    const wait = this.wait * (0.75 + Math.random() / 2);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    this.set({ state: "lost", reason, next: performance.now() + wait });
    this.timer = setTimeout(() => this.open(), wait);
  }
}
