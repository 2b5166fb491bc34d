// @ts-check
// The box for a guild: why is it silent?

import { byId, make, setClass, setText } from "./dom.js";
import { clock } from "./text.js";

const KINDS = /** @type {Record<string, string>} */ ({ works: "good", not_there: "changing", fails: "bad" });

/** The box. */
export class Why {
  /** @param {(path: string) => Promise<any>} ask @param {{ changed: (guild: string) => void, shard: (number: number) => void }} parts */
  constructor(ask, parts) {
    this.ask = ask;
    this.parts = parts;
    this.turn = 0;
    this.guild = "";
    const form = byId("why-form");
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      const guild = byId("why-guild").value.trim();
      this.guild = "";
      parts.changed(guild);
      if (!guild) this.show("");
    });
  }

  /** Asks about a guild, once; an empty text clears the box. @param {string} guild */
  async show(guild) {
    if (guild === this.guild) return;
    this.guild = guild;
    const box = byId("why-answer");
    const turn = ++this.turn;
    box.hidden = !guild;
    if (!guild) return;
    byId("why-guild").value = guild;
    if (!/^\d{15,20}$/.test(guild)) {
      this.say("bad", "A guild's id has 15 to 20 digits: switch on developer mode in Discord and copy it.");
      return;
    }
    this.say("quiet", "Asking the guild's worker.");
    try {
      const why = await this.ask(`/page/why?guild=${guild}`);
      if (turn === this.turn) this.answer(why);
    } catch (error) {
      if (turn === this.turn) this.say("bad", `The lookup failed: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** @param {string} kind @param {string} sentence */
  say(kind, sentence) {
    setText(byId("why-sentence"), sentence);
    setClass(byId("why-sentence"), `lead ${kind}`);
    byId("why-facts").replaceChildren();
  }

  /** @param {any} why */
  answer(why) {
    this.say(KINDS[why.verdict] ?? "", why.sentence.charAt(0).toUpperCase() + why.sentence.slice(1) + (/[.!?]$/.test(why.sentence) ? "" : "."));
    const facts = byId("why-facts");
    for (const line of why.lines) facts.append(make("li", "", line));
    if (why.shard !== null) {
      const open = make("button", "link", `show shard ${why.shard}`);
      open.type = "button";
      open.addEventListener("click", () => this.parts.shard(why.shard));
      facts.append(make("li", "", open));
    }
    const lately = why.lately.length ? "In the last 24 hours:" : why.missing ? "" : "In the last 24 hours: nothing happened to it.";
    if (lately) facts.append(make("li", "quiet", lately));
    for (const entry of why.lately) facts.append(make("li", "entry", make("time", "", clock(entry.at)), ` ${entry.text}`));
    if (why.missing) facts.append(make("li", "bad", `History not complete: ${why.missing}`));
  }
}
