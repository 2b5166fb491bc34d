// A discord.js bot that talks to the simulator. Its gateway URL comes from GET /gateway/bot.

import { Client, Events, GatewayIntentBits, version } from 'discord.js';
import { Messages, api, next, saw, token } from '../sim.mjs';

export async function login(options = {}) {
  const bot = new Client({
    intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages, GatewayIntentBits.MessageContent],
    rest: { api, version: '10' },
    ...options,
  });
  const messages = new Messages();
  bot.on(Events.MessageCreate, ({ nonce }) => nonce && messages.add(nonce));
  for (const event of ['shardReady', 'shardReconnecting', 'shardResume', 'shardDisconnect', 'shardError', 'error']) {
    bot.on(event, (...words) => saw(event, ...words));
  }
  const ready = next(bot, Events.ClientReady);
  await bot.login(token);
  await ready;
  saw(`discord.js ${version} ready as ${bot.user.tag} with ${bot.guilds.cache.size} guilds`);
  return { bot, messages };
}
