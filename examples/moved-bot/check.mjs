// Runs the bot beside `altergolden dev`: first against the simulated Discord itself, then behind the gateway. People use every command each time, and
// both runs must give the same answers. Then the bot restarts. Prints a line for each check; ends with 1 at the first that fails.
//
//     REST_PROXY_URL=http://127.0.0.1:3080/api SIM_URL=http://127.0.0.1:3900 node check.mjs
//
// `node check.mjs running` only uses the commands of a bot that you have started.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const SIM = process.env.SIM_URL ?? 'http://127.0.0.1:3900';
const FLEET = process.env.REST_PROXY_URL ?? 'http://127.0.0.1:3080/api';
/** Of the bot; the fleet must have another number. */
const SHARDS = Number(process.env.SHARD_COUNT ?? 3);
const COMMANDS = 22;
const PATIENCE_MS = 60_000;

async function call(path, body) {
  const headers = { 'content-type': 'application/json', authorization: 'Bot any', 'user-agent': 'DiscordBot (https://localhost, 1)' };
  const answer = await fetch(SIM + path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert(answer.ok, `${path}: ${text}`);
  return JSON.parse(text);
}
const sim = (path) => call(`/sim/${path}`);
const discord = (path) => call(`/api/v10${path}`);
const fault = (kind, fields = {}) => call('/sim/faults', { kind, ...fields });
/** The sessions at Discord: the bot's while it is connected to Discord itself, else the fleet's. */
const sessions = async () => {
  const live = (await sim('ledger')).sessions.filter(({ connection }) => connection !== null);
  const own = live.filter(({ shard }) => shard[1] === SHARDS);
  return own.length > 0 ? own : live;
};
const identifies = async () => (await sim('identifies')).items.length;

/** Asks until `find` returns something. `last` says in the error what there was instead. */
async function until(what, find, last = () => '') {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    assert(Date.now() < end, `timeout waiting for ${what} ${last()}`);
    await sleep(20);
  }
}

const passed = (what, detail) => console.log('ok', what.padEnd(10), detail);

/** The bot: the manager and its shards, as processes. */
class Bot {
  lines = [];

  constructor(api) {
    const env = { ...process.env, DISCORD_TOKEN: 'any', SHARD_COUNT: SHARDS, REST_PROXY_URL: api };
    this.started = Date.now();
    this.process = spawn(process.execPath, [fileURLToPath(new URL('sharding.js', import.meta.url))], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve) => this.process.once('exit', resolve));
    process.once('exit', (code) => {
      this.process.kill();
      if (code !== 0) console.error(this.lines.join('\n'));
    });
    for (const output of [this.process.stdout, this.process.stderr]) {
      createInterface(output).on('line', (line) => this.lines.push(`${Date.now() - this.started} ms ${line}`));
    }
  }

  count(text) {
    return this.lines.filter((line) => line.includes(text)).length;
  }

  async ready() {
    await until('the shards', () => this.process.exitCode !== null || this.count('ready with') === SHARDS);
    assert.equal(this.process.exitCode, null, 'the bot ended');
    await until('its commands', () => this.count('commands registered') === 1);
    return Date.now() - this.started;
  }

  async stop() {
    this.process.kill();
    await this.ended;
  }
}

/** What the simulated Discord knows of its first guild: there the bot may delete messages. Ada is not in voice. */
async function place() {
  const [{ id, member_count: members }] = await sim('guilds?limit=1');
  const channels = await discord(`/guilds/${id}/channels`);
  const [text, voice] = [0, 2].map((type) => channels.find((channel) => channel.type === type).id);
  const [ada, ben] = (await discord(`/guilds/${id}/members?limit=20`)).filter(({ user }) => !user.bot);
  const moves = (channel_id) => fault('voice', { guild_id: id, user_id: ada.user.id, channel_id });
  await moves(null);
  return { id, members, text, voice, ada, ben, moves, roles: await discord(`/guilds/${id}/roles`) };
}

let serial = 0;
/** A person writes a message. */
function write({ id: guild_id, text }, { user, ...member }, content) {
  serial += 1;
  const d = {
    id: String((BigInt(Date.now() - 1_420_070_400_000) << 22n) + BigInt(serial)),
    channel_id: text,
    guild_id,
    author: user,
    member,
    content,
    timestamp: new Date().toISOString(),
    edited_timestamp: null,
    tts: false,
    mention_everyone: false,
    mentions: [],
    mention_roles: [],
    attachments: [],
    embeds: [],
    pinned: false,
    type: 0,
  };
  return fault('event', { name: 'MESSAGE_CREATE', guild_id, d });
}

/** Uses every command, in this order. Returns the answers. */
async function everyCommand(at) {
  const answers = [];
  const used = new Set();
  const person = { guild_id: at.id, channel_id: at.text, user_id: at.ada.user.id };
  const interaction = async (id) => (await sim('interactions')).find((one) => one.id === id);
  const option = (name, value, type = 3) => ({ options: [{ name, type, value }] });

  /**
   * A person uses a command, or what `fields` say. Once the bot has answered for the first time, `react` runs, each second until the answer is `expected`:
   * like a person, who may be faster than the bot's collector. With `again` the command is used again until then: an event of another shard may come later than the command.
   */
  async function uses(command, expected, { react, again, ...fields } = {}) {
    const use = async () => (await fault('interaction', { ...person, command, ...fields })).interaction_id;
    let id = await use();
    let last;
    let reacted = 0;
    const answered = async () => {
      last = await interaction(id);
      if (last.state === 'answered' && expected.test(last.content ?? '')) return true;
      if (again && last.state === 'answered') id = await use();
      if (react && last.state !== 'pending' && Date.now() > reacted + 1_000) {
        reacted = Date.now();
        await react(last);
      }
    };
    await until(`an answer to /${command} like ${expected}`, answered, () => JSON.stringify(last));
    passed(`/${command}`, (last.content || 'an embed').slice(0, 100));
    used.add(command);
    if (command !== 'seen') answers.push([command, last.content, last.ephemeral, last.callback]);
    return last;
  }
  let written = 0;
  const writes = (content) => ((written += 1), write(at, at.ben, content));
  const messageOf = async ({ id }) => (await until('its message', async () => (await sim('messages')).find((one) => one.interaction_id === id))).id;
  const seen = async () => (await uses('seen', /^\d+ messages/)).content.match(/\d+/g).map(Number);
  const before = await seen();

  // Across the shards, and the caches in a guild of each.
  const stats = await sim(`stats?shard_total=${SHARDS}`);
  const total = new RegExp(`^${stats.users} users, ${stats.channels} channels, ${stats.voice_connections} in voice$`);
  await uses('ping', new RegExp(`^Serving ${stats.guilds} servers across ${SHARDS} shards$`));
  await uses('stats', total);
  for (const { id: guild_id, shard, member_count } of await sim(`guilds?limit=${SHARDS}&shard_total=${SHARDS}`)) {
    await uses('whereis', new RegExp(` on shard ${shard[0]}$`), option('id', guild_id));
    const there = { guild_id, channel_id: undefined, user_id: undefined };
    await uses('server', new RegExp(`: ${member_count} members`), there);
    await uses('channels', /^\d+ channels/, there);
    await uses('voice', /^\d+ in voice/, there);
  }
  await uses('whereis', /^The bot is not there$/, option('id', '1'));

  // Members and roles.
  const role = at.roles.at(-1);
  const { username } = at.ben.user;
  await uses('role', new RegExp(`position ${role.position}, `), option('role', role.id, 8));
  await uses('member', new RegExp(`: ${at.ben.roles.length + 1} roles$`), option('user', at.ben.user.id, 6));
  const { id: counted } = await uses('members', new RegExp(`^${at.members} members fetched, ${at.members} known$`));
  await until('the message after it', async () => (await interaction(counted)).follow_ups.length === 1);
  await uses('search', new RegExp(username.replaceAll('.', '\\.')), option('name', username));

  // Voice, and the status.
  await at.moves(at.voice);
  await uses('voice', new RegExp(at.ada.user.username.replaceAll('.', '\\.')));
  await uses('join', /^In .*, at /);
  await uses('leave', /^Left$/);
  await at.moves(null);
  const status = `chess ${Date.now()}`;
  await uses('status', /^Set$/, option('text', status));
  const playing = ({ presence }) => JSON.stringify(presence).includes(status);
  await until('the status on every shard', async () => (await sessions()).every(playing));

  // Messages and collectors.
  await uses('say', /^Written$/, option('text', 'one'));
  await uses('say', /^Written$/, option('text', 'two'));
  // In a later round also what the bot wrote since.
  await uses('purge', /^([2-9]|\d\d+) deleted$/);
  await writes('!hello');
  await uses('last', /: !hello$/);
  await uses('ask', /^blue, says /, { react: () => writes('blue') });
  await uses('vote', /👍 2/u, {
    react: async (asked) => {
      const vote = { message_id: await messageOf(asked), channel_id: at.text, guild_id: at.id, emoji: { id: null, name: '👍' }, type: 0, burst: false };
      for (const member of [at.ada, at.ben]) {
        await fault('event', { name: 'MESSAGE_REACTION_ADD', guild_id: at.id, d: { ...vote, user_id: member.user.id, member } });
      }
    },
  });

  // Components, a form, autocomplete.
  await uses('confirm', /^Done$/, {
    react: async (asked) => fault('interaction', { ...person, component: 'yes', message_id: await messageOf(asked) }),
  });
  const { interaction_id: opened } = await fault('interaction', { ...person, command: 'feedback' });
  await until('the form', async () => (await interaction(opened)).callback === 9);
  const typed = [{ type: 1, id: 1, components: [{ type: 4, id: 2, custom_id: 'text', value: 'good' }] }];
  await uses('feedback', /^Thank you: good$/, { command: undefined, modal: 'feedback', components: typed });
  const typing = { ...person, command: 'tag', ...option('name', 'r'), autocomplete: true };
  const { interaction_id: suggested } = await fault('interaction', typing);
  await until('suggestions', async () => (await interaction(suggested)).callback === 8);
  await uses('tag', /^$/, option('name', 'rules'));

  // A server is left and joined again. Events came once each: the messages, Ada's two moves, and this.
  const { id: other } = (await sim(`guilds?shard_total=${SHARDS}`)).findLast(({ shard }) => shard[0] === 0);
  await fault('guild_leave', { guild_id: other });
  await uses('whereis', /^The bot is not there$/, { again: true, ...option('id', other) });
  await fault('guild_join', { guild_id: other });
  await uses('whereis', / on shard 0$/, { again: true, ...option('id', other) });
  await uses('stats', total);
  assert.deepEqual(await seen(), [before[0] + written, before[1] + 2, before[2] + 1, before[3] + 1], 'events came once each');
  assert.equal(used.size, COMMANDS, 'every command was used');
  return answers;
}

async function check() {
  const at = await place();
  if (process.argv[2] === 'running') return everyCommand(at);

  const direct = new Bot(`${SIM}/api`);
  passed('before', `connected to Discord, ready in ${await direct.ready()} ms`);
  const answers = await everyCommand(at);
  await direct.stop();
  await until('its sessions to end', async () => (await sessions()).every(({ shard }) => shard[1] !== SHARDS));

  // The bot and the fleet have both identified at Discord, and neither knows of the other.
  await fetch(`${SIM}/sim/violations`, { method: 'DELETE' });
  const spent = await identifies();
  const moved = new Bot(FLEET);
  passed('moved', `behind the gateway, ready in ${await moved.ready()} ms`);
  // Discord lists the members of a guild once in 30 s, for all sessions of the bot together. The gateway asks again when it takes the request.
  assert.deepEqual(await everyCommand(at), answers, 'the same answers as before');
  assert.equal(await identifies(), spent);
  passed('moved', `${answers.length} answers are the same as before, 0 IDENTIFYs at Discord`);

  await fault('reconnect');
  await until('the fleet to resume', async () => (await sessions()).every(({ resumes }) => resumes > 0));
  await everyCommand(at);
  assert.equal(moved.count('reconnecting'), 0);
  passed('reconnect', 'Discord has asked every shard of the fleet to reconnect, and the bot has seen nothing of it');
  await moved.stop();

  const again = new Bot(FLEET);
  passed('restarted', `ready in ${await again.ready()} ms`);
  await everyCommand(at);
  assert.equal(await identifies(), spent);
  passed('restarted', 'every command works, 0 IDENTIFYs at Discord');
  await again.stop();
  const { items } = await sim('violations');
  assert.deepEqual(items, [], 'no rule of Discord was broken');
}

await check();
console.log('every check passed');
