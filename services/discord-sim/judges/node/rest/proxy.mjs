// discord.js's REST client with nothing but `api` set to a proxy of ours: JSON, files, follow-ups, errors; buckets and 429s of each
// scope are waited out in the proxy, so the client sees none; one that is too long reaches it, and it waits as it is used to.

import assert from 'node:assert/strict';
import { REST, DiscordAPIError, RESTEvents } from '@discordjs/rest';
import { Routes } from 'discord-api-types/v10';
import { ask, fault, judge, saw, token } from '../sim.mjs';

const proxy = process.argv[3];

judge(async () => {
  const rest = new REST({ api: proxy }).setToken(token);
  const limited = [];
  rest.on(RESTEvents.Response, ({ path }, { status }) => status === 429 && limited.push(path));

  const me = await rest.get(Routes.user());
  assert.equal(me.bot, true);
  const [guild] = await ask('/sim/guilds');
  const channels = await rest.get(Routes.guildChannels(guild.id));
  const texts = channels.filter(({ type }) => type === 0).map(({ id }) => id);
  saw('who it is, a guild and', channels.length, 'channels');

  const sent = await rest.post(Routes.channelMessages(texts[0]), {
    body: { content: 'with a file' },
    files: [{ name: 'a.bin', data: Buffer.alloc(600_000, 'x') }],
  });
  assert.equal(sent.attachments[0].size, 600_000);
  await rest.patch(Routes.channelMessage(texts[0], sent.id), { body: { content: 'edited' } });
  await rest.delete(Routes.channelMessage(texts[0], sent.id));
  saw('a file of 600 kB sent, edited and deleted');

  await assert.rejects(rest.post(Routes.channelMessages(texts[0]), { body: { content: '' } }), (error) => {
    assert(error instanceof DiscordAPIError);
    assert.equal(error.code, 50006);
    return true;
  });
  saw('an error is Discord\'s own');

  for (const scope of ['user', 'shared', 'global']) {
    await fault('rate_limit', { count: 1, scope, retry_after: 1 });
    const began = Date.now();
    await rest.post(Routes.channelMessages(texts[1]), { body: { content: scope } });
    const took = Date.now() - began;
    assert(took >= 1_000, `${scope}: written after ${took} ms`);
    saw(`${scope}: written after ${took} ms`);
  }
  assert.deepEqual(limited, [], 'the proxy waited, and the client saw no 429');

  // More than the proxy waits for: then it is the client that does.
  await fault('rate_limit', { count: 1, scope: 'user', retry_after: 12 });
  const began = Date.now();
  await rest.get(Routes.channel(texts[2] ?? texts[0]));
  assert(Date.now() - began >= 12_000, 'it waited');
  assert.equal(limited.length, 1);
  saw('a long 429 reached the client, which waited', Date.now() - began, 'ms');

  const { counts } = await ask('/sim/requests');
  const refused = counts.filter(({ status }) => status === 429).reduce((sum, { count }) => sum + count, 0);
  assert.equal(refused, 4, 'each 429 came once');
});
