// Times calls of the TypeScript client, each kind in turn: node client.mjs CLIENT URL CALLS GUILDS USERS
//
// The bare call is grpc.health.v1.Health/Check over grpc-js, on a separate connection.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [path, url, calls, guilds, users] = process.argv.slice(2);
const { ShardBridgeClient } = await import(pathToFileURL(path).href);
const grpc = createRequire(path)('@grpc/grpc-js');

const pass = (bytes) => bytes;
const check = {
  path: '/grpc.health.v1.Health/Check',
  requestStream: false,
  responseStream: false,
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass,
};
const Health = grpc.makeGenericClientConstructor({ check }, 'Health');
const health = new Health(new URL(url).host, grpc.credentials.createInsecure());
const bridge = new ShardBridgeClient({ url });
const pick = (list, number) => list[(number * 7919) % list.length];
const guildIds = guilds.split(',');
const userIds = users.split(',');

const kinds = {
  'bare call (health check)': () =>
    new Promise((resolve, reject) =>
      health.check(Buffer.alloc(0), (error, answer) => (error ? reject(error) : resolve(answer))),
    ),
  'aggregate stats': () => bridge.getAggregateStats(),
  'find guild': (number) => bridge.findGuild(pick(guildIds, number)),
  'find user': (number) => bridge.findUser(pick(userIds, number)),
};
const times = Object.fromEntries(Object.keys(kinds).map((name) => [name, []]));
const warmUp = 300;
for (let number = -warmUp; number < Number(calls); number++) {
  for (const [name, call] of Object.entries(kinds)) {
    const since = process.hrtime.bigint();
    const answer = await call(Math.abs(number));
    if (number >= 0) times[name].push(Number(process.hrtime.bigint() - since) / 1e3);
    if (answer.complete === false) throw new Error(`${name}: ${JSON.stringify(answer)}`);
  }
}
console.log('TypeScript client, one call at a time, in microseconds:');
const row = (name, ...columns) => console.log(`  ${name.padEnd(26)}${columns.map((text) => ` ${text.padStart(7)}`).join('')}`);
row('', 'calls', 'p50', 'p99', 'max');
for (const [name, list] of Object.entries(times)) {
  list.sort((a, b) => a - b);
  const at = (share) => list[Math.floor((list.length - 1) * share)].toFixed(0);
  row(name, String(list.length), at(0.5), at(0.99), at(1));
}
bridge.close();
health.close();
