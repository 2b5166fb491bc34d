// @ts-check
// The token of a page that is opened from another host. It stays in memory: a reload asks for it again.

import { byId, setText } from "./dom.js";

/** Asks for a token when the server wants one, and puts it into requests. */
export class Access {
  /** @param {() => void} changed Called with a new token. */
  constructor(changed) {
    this.token = "";
    const form = /** @type {HTMLFormElement} */ (byId("access"));
    const input = /** @type {HTMLInputElement} */ (byId("access-token"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.token = input.value.trim();
      input.value = "";
      form.hidden = true;
      changed();
    });
  }

  /** Headers of each request for data. @returns {Record<string, string>} */
  headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  /** Shows the box for the token. */
  ask() {
    const form = byId("access");
    const secure = location.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
    for (const part of form.children) /** @type {HTMLElement} */ (part).hidden = !secure && part.id !== "access-note";
    if (!secure) {
      form.hidden = false;
      setText(byId("access-note"), "From another host, open this page over https.");
      return;
    }
    setText(byId("access-note"), this.token ? "The coordinator does not accept this token." : "");
    this.token = "";
    if (!form.hidden) return;
    form.hidden = false;
    byId("access-token").focus();
  }
}
