// How long discord.js's ShardingManager takes to bring back a shard whose process was killed, what that costs, and what is lost.
//
//   node measure.mjs [RUNS [SHARDS [EVENTS_PER_SECOND [AT_ONCE]]]]
//
// Starts discord-sim (target/release, or the path in DISCORD_SIM) and a ShardingManager; kills one shard's process after the
// other with SIGKILL, or AT_ONCE of them together, as when what runs them dies; waits for the clientReady of each successor.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { loadavg, tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../../discord-sim/judges/node/package.json', import.meta.url));
const { ShardingManager, version } = require('discord.js');

const [runs = 10, shards = 12, rate = 500, atOnce = 1] = process.argv.slice(2).map(Number);
const guilds = 1_200;
const patience = 60_000;

const program = process.env.DISCORD_SIM ?? fileURLToPath(new URL('../../../target/release/discord-sim', import.meta.url));
const sim = spawn(program, ['--listen', '127.0.0.1:0', '--guilds', guilds, '--shards', shards], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
sim.on('error', (error) => {
  console.error(`${error.message}: build it with cargo build --release -p discord-sim, or name it in DISCORD_SIM`);
  process.exit(1);
});

process.on('exit', () => sim.kill());

const origin = await new Promise((resolve) => {
  const said = createInterface({ input: sim.stdout });
  said.on('line', (line) => {
    const [, found] = /^discord-sim listening on (\S+)/.exec(line) ?? [];
    if (found) resolve(found);
  });
});

async function call(method, path, body) {
  const answer = await fetch(`${origin}/sim/${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
  return answer.json();
}

const events = (per_second) => call('POST', 'faults', { kind: 'event_rate', per_second });
const identifies = async () => (await call('GET', 'identifies')).items.length;

const seen = mkdtempSync(`${tmpdir()}/sharding-manager-`);
process.env.SEEN = seen;
process.env.SIM_ORIGIN = origin;

// How many different messages the shards have seen, with those that are dead.
function different() {
  const numbers = readdirSync(seen).flatMap((name) => readFileSync(`${seen}/${name}`, 'utf8').trim().split('\n'));
  return new Set(numbers.filter(Boolean)).size;
}

// Stops the messages, waits until everything that was sent is seen, and says how many were dispatched and never seen.
async function missing() {
  await events(0);
  let before = -1;
  for (let now = different(); now !== before; now = different()) {
    before = now;
    await sleep(1_000);
  }
  return (await call('GET', 'ledger')).messages_dispatched - before;
}

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const summary = (name, unit, numbers) =>
  console.log(`${name}: min ${Math.min(...numbers)} ${unit}, median ${median(numbers)} ${unit}, max ${Math.max(...numbers)} ${unit}`);

const manager = new ShardingManager(fileURLToPath(new URL('bot.mjs', import.meta.url)), {
  totalShards: shards,
  token: 'measured',
});
console.log(`discord.js ${version}, node ${process.version}: ${shards} shards, ${guilds} guilds, ${rate} events/s, ${atOnce} killed at once`);
// Without a listener a shard that takes longer than 30 s ends the manager.
manager.on('shardCreate', (shard) => shard.on('error', ({ message }) => console.log(`shard ${shard.id}: ${message}`)));
await manager.spawn();
console.log(`all ${shards} shards are ready, ${await identifies()} IDENTIFYs`);
// The last one's identify bucket opens again.
await sleep(5_000);

const [times, losses, spent] = [[], [], []];
for (let run = 0; run < runs; run += 1) {
  const victims = Array.from({ length: atOnce }, (_, index) => manager.shards.get((run * atOnce + index) % shards));
  await events(rate);
  await sleep(3_000);
  const before = await identifies();
  const ready = victims.map(
    (shard) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`shard ${shard.id} did not come back`)), patience);
        shard.once('ready', () => void (clearTimeout(timer), resolve()));
      }),
  );
  const killed = performance.now();
  for (const { process: child } of victims) process.kill(child.pid, 'SIGKILL');
  await Promise.all(ready);
  times.push(Math.round(performance.now() - killed));
  // Some load on the new session, then everything is counted.
  await sleep(1_000);
  const lost = (await missing()) - losses.reduce((sum, one) => sum + one, 0);
  losses.push(lost);
  spent.push((await identifies()) - before);
  const dead = victims.map(({ id }) => id);
  console.log(`run ${run + 1}: shards ${dead} ready ${times.at(-1)} ms after their death, ${lost} events lost, ${spent.at(-1)} IDENTIFYs, load ${loadavg()[0]}`);
  // The identify bucket opens again.
  await sleep(5_000);
}
summary('until clientReady', 'ms', times);
summary('events lost', '', losses);
summary('IDENTIFYs', '', spent);
const { items } = await call('GET', 'violations');
console.log(`rules of Discord's that were broken: ${items.length}`);

manager.respawn = false;
for (const shard of manager.shards.values()) shard.kill();
rmSync(seen, { recursive: true });
process.exit(0);
