// @ts-check
// The identify queue with its reserve, and the plan.

import { byId, keyed, make, setClass, setText } from "./dom.js";
import { queueSentence } from "./head.js";
import { counted, grouped, span } from "./text.js";

/** @param {import("./fleet.js").Fleet} fleet @param {number} now */
export function drawIdentify(fleet, now) {
  const { total, remaining, reserve, resets_in } = fleet.sections.identify;
  const { text, kind } = queueSentence(fleet, now);
  setText(byId("queue"), text);
  setClass(byId("queue"), `lead ${kind}`);
  const short = total > 0 && remaining <= reserve;
  const share = (/** @type {number} */ part) => `${total ? (100 * Math.min(part, total)) / total : 0}%`;
  const bar = byId("budget-bar");
  bar.style.width = share(remaining);
  setClass(bar, short ? "filled bad" : "filled");
  const line = byId("reserve-line");
  line.style.left = share(reserve);
  line.hidden = reserve === 0 || total === 0;
  setText(byId("budget"), total ? `${grouped(remaining)} of ${grouped(total)} IDENTIFYs left today` : "The daily limit is not known yet");
  setClass(byId("budget"), short ? "bad" : "");
  const kept = reserve ? `${grouped(reserve)} reserved (the line)` : "no reserve";
  setText(byId("budget-note"), total ? `${kept} · resets in ${span(resets_in * 1000)}` : "");
}

const OVER = ["done", "rolled back", "aborted"];

/** @param {import("./fleet.js").Fleet} fleet @param {number} now */
export function drawPlan(fleet, now) {
  const plan = fleet.sections.plan;
  const bar = byId("plan-bar");
  byId("plan-track").hidden = !plan;
  if (!plan) {
    setText(byId("plan-name"), "None");
    setClass(byId("plan-name"), "lead quiet");
    setText(byId("plan-state"), "Start one with altergolden drain, move, rebalance or deploy.");
    setClass(byId("plan-state"), "quiet");
    byId("plan-steps").replaceChildren();
    return;
  }
  const over = OVER.includes(plan.state);
  const elapsed = plan.elapsed_ms + (over ? 0 : Math.max(0, now - (fleet.received ?? now)));
  setText(byId("plan-name"), plan.description);
  setClass(byId("plan-name"), over ? "lead quiet" : "lead");
  bar.style.width = `${plan.all ? (100 * plan.done) / plan.all : 100}%`;
  const wrong = plan.state !== "running" && plan.state !== "done";
  setClass(bar, wrong ? "filled bad" : "filled");
  const left = plan.estimated_ms > elapsed ? `, about ${span(plan.estimated_ms - elapsed)} left` : "";
  const reason = plan.reason ? `: ${plan.reason}` : "";
  const identifies = plan.identifies ? ` · ${counted(plan.identifies, "IDENTIFY")}` : "";
  setText(
    byId("plan-state"),
    over
      ? `${plan.state}, ${grouped(plan.done)} of ${counted(plan.all, "shard")} in ${span(elapsed)}${reason}`
      : `${plan.state}, ${grouped(plan.done)} of ${counted(plan.all, "shard")}${left}${identifies}${reason}`,
  );
  setClass(byId("plan-state"), wrong ? "bad" : "quiet");
  const steps = over ? [] : plan.steps.slice(0, 6);
  keyed(
    byId("plan-steps"), steps, (step) => String(step.shard), () => make("li"),
    (line, step) => setText(line, `shard ${step.shard}: ${step.from || "–"} to ${step.to || "–"}, by ${step.identifies ? "IDENTIFY" : "handoff"}`),
  );
}
