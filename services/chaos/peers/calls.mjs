// Answers the benchmark's calls: one JSON object a line on standard input, one on standard output with the same `id`, the milliseconds
// that the call took here, and `value` or `error`. Ends with its input.

import { createInterface } from 'node:readline';

// A question without an answer within this time counts as unanswered.
const PATIENCE_MS = 2_000;
const QUESTIONS = new Set(['total', 'guild']);

const reply = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);

async function run(calls, { id, call, ...parameters }) {
  const since = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    if (QUESTIONS.has(call)) timer = setTimeout(() => reject(new Error('no answer in 2 s')), PATIENCE_MS);
  });
  try {
    const value = await Promise.race([calls[call](parameters), late]);
    reply({ id, ms: performance.now() - since, value });
  } catch (error) {
    reply({ id, ms: performance.now() - since, error: error?.message ?? String(error) });
  } finally {
    clearTimeout(timer);
  }
}

export function answer(calls) {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => void run(calls, JSON.parse(line)));
  lines.on('close', () => process.exit());
}

// Runs in a bot: what it knows of a guild.
export function describeGuild(client, { id }) {
  const guild = client.guilds.cache.get(id);
  return guild ? { name: guild.name, members: guild.memberCount } : null;
}

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
