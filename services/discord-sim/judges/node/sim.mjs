// Shared by all judges: the simulator's control API, waiting for events, and the line with the result.

import assert from 'node:assert/strict';

export const origin = process.argv[2];
// The API and the token: the simulator's own, or a fleet's that is connected to the simulator.
export const api = process.env.BOT_API ?? `${origin}/api`;
export const token = process.env.BOT_TOKEN ?? 'judge';

const PATIENCE = 40_000;

export function saw(...words) {
  console.log('saw', ...words);
}

async function call(method, path, body) {
  const answer = await fetch(origin + path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert(answer.ok, `${method} ${path}: ${text}`);
  return text && JSON.parse(text);
}

export const ask = (path) => call('GET', path);
export const fault = (kind, fields = {}) => call('POST', '/sim/faults', { kind, ...fields });

// The arguments of the emitter's next such event.
export function next(emitter, event, wanted = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      emitter.off(event, listener);
      reject(new Error(`timeout waiting for ${event}`));
    }, PATIENCE);
    function listener(...words) {
      if (!wanted(...words)) return;
      clearTimeout(timer);
      emitter.off(event, listener);
      resolve(words);
    }
    emitter.on(event, listener);
  });
}

// Collects the numbers of the simulator's messages, each of which has one in its nonce.
export class Messages {
  numbers = [];
  #waiting = [];

  add(nonce) {
    this.numbers.push(Number(nonce.replace('sim-', '')));
    this.#waiting = this.#waiting.filter(({ count, resolve }) => this.numbers.length < count || resolve());
  }

  more(count) {
    const wanted = this.numbers.length + count;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.numbers.length} messages of ${wanted} came`)),
        PATIENCE,
      );
      this.#waiting.push({ count: wanted, resolve: () => void (clearTimeout(timer), resolve()) });
    });
  }

  // Ends the stream of messages and checks that all of them came, once, in order. With several shards the order is
  // kept for each of them only.
  async complete({ ordered = true } = {}) {
    await fault('event_rate', { per_second: 0 });
    const { messages } = await ask('/sim/ledger');
    if (this.numbers.length < messages) await this.more(messages - this.numbers.length);
    const numbers = ordered ? this.numbers : [...this.numbers].sort((a, b) => a - b);
    const all = Array.from({ length: messages }, (_, index) => index + 1);
    assert.deepEqual(numbers, all, 'every message came once, in order');
    saw(messages, 'messages, each once');
  }
}

export async function identifies() {
  const { items } = await ask('/sim/identifies');
  return items.length;
}

// How many events of this shard were written again because a RESUME asked for them.
export async function replayed(shard = 0) {
  const { sessions } = await ask(`/sim/ledger?shard=${shard}`);
  const runs = sessions.flatMap(({ deliveries }) => deliveries).filter((run) => run.replayed);
  return runs.reduce((sum, { from, to }) => sum + to - from + 1, 0);
}

// Returns and clears the violations that the judge provoked.
export async function takeViolations() {
  const { items } = await ask('/sim/violations');
  await call('DELETE', '/sim/violations');
  return items.map(({ kind }) => kind);
}

// Runs a judge, then asserts that it broke no rule.
export async function judge(run) {
  try {
    await run();
    const { items } = await ask('/sim/violations');
    assert.deepEqual(items, [], 'no rule was broken');
    console.log('the judge passed');
    process.exit(0);
  } catch (error) {
    console.error('the judge failed:', error);
    process.exit(1);
  }
}
