// One shard of the measured bot: discord.js as its guide shows it, which writes down the number of each message that it sees.

import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../discord-sim/judges/node/package.json', import.meta.url));
const { Client, Events, GatewayIntentBits } = require('discord.js');

const book = openSync(`${process.env.SEEN}/${process.env.SHARDS}-${process.pid}`, 'a');
const bot = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages],
  rest: { api: `${process.env.SIM_ORIGIN}/api`, version: '10' },
});
bot.on(Events.MessageCreate, ({ nonce }) => nonce && writeSync(book, `${nonce.slice('sim-'.length)}\n`));
await bot.login(process.env.DISCORD_TOKEN);
