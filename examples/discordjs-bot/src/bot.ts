// The bot's event handlers. Every event may be delivered twice, so each handler says what happens then.

import {
  ActivityType,
  ApplicationCommandType,
  GatewayDispatchEvents,
  InteractionType,
  PresenceUpdateStatus,
  RESTJSONErrorCodes,
  type API,
  type APIUser,
  type Client,
} from '@discordjs/core';
import { DiscordAPIError } from '@discordjs/rest';
import { BridgeError, type ShardBridgeClient } from 'altergolden-client';
import { log, reason } from './log.js';
import { GAP } from './relay.js';

/** Discord's deadline for an answer. */
const ANSWER_WITHIN_MS = 3_000;
/** Part of it for the query to the shards. */
const ASK_WITHIN_MS = 1_500;
const DISCORD_EPOCH = 1_420_070_400_000;

const COMMANDS = [
  { type: ApplicationCommandType.ChatInput, name: 'ping', description: 'How many servers the bot is in' } as const,
];

/** Registers the commands. Repeating it changes nothing. */
export async function register(api: API, applicationId: string): Promise<void> {
  await api.applicationCommands.bulkOverwriteGlobalCommands(applicationId, COMMANDS);
}

export function addHandlers(client: Client, bridge: ShardBridgeClient, me: APIUser): void {
  client.on(GatewayDispatchEvents.InteractionCreate, async ({ data, api }) => {
    if (data.type !== InteractionType.ApplicationCommand || data.data.name !== 'ping') return;
    const left = createdAt(data.id) + ANSWER_WITHIN_MS - Date.now();
    if (left <= 0) return log('warn', 'interaction too old to answer', { interaction: data.id, late_by_ms: -left });
    const content = await serving(bridge, Math.min(ASK_WITHIN_MS, left));
    try {
      await api.interactions.reply(data.id, data.token, { content }, { signal: AbortSignal.timeout(left) });
    } catch (error) {
      // Discord accepts only the first answer, so users see one.
      if (!isAnswered(error)) throw error;
      log('debug', 'interaction already answered', { interaction: data.id });
    }
  });

  // The bot can't know which events it missed, so a bot with state of its own must load it again here.
  client.on(GAP, ({ data, shardId }) => log('warn', 'events were or may have been lost', { shard: shardId, ...data }));

  // Discord drops a presence with its session. Repeating it changes nothing.
  client.on(GatewayDispatchEvents.Ready, async ({ shardId }) => {
    const activities = [{ type: ActivityType.Custom, name: 'status', state: `/ping · shard ${shardId}` }];
    await client.updatePresence(shardId, { status: PresenceUpdateStatus.Online, activities, afk: false, since: null });
  });

  client.on(GatewayDispatchEvents.MessageCreate, async ({ data, api }) => {
    if (data.author.bot || !data.mentions.some(({ id }) => id === me.id)) return;
    await api.channels.createMessage(data.channel_id, {
      content: 'Hello! Try /ping.',
      message_reference: { message_id: data.id, fail_if_not_exists: false },
      allowed_mentions: { parse: [] },
      // Discord creates only one message per nonce.
      nonce: data.id,
      enforce_nonce: true,
    });
  });
}

/** Returns the text of /ping. */
async function serving(bridge: ShardBridgeClient, deadlineMs: number): Promise<string> {
  try {
    const stats = await bridge.getAggregateStats({ deadlineMs });
    const text = `Serving ${stats.totalGuilds} servers across ${stats.shardCount} shards`;
    if (stats.complete) return text;
    const missing = stats.missingShards.join(', ');
    return `${text} (not complete${missing && `: no answer for shards ${missing}`})`;
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error;
    log('warn', 'cannot query the shards', { reason: reason(error) });
    return "The servers cannot be counted at the moment";
  }
}

function createdAt(id: string): number {
  return Number(BigInt(id) >> 22n) + DISCORD_EPOCH;
}

function isAnswered(error: unknown): boolean {
  return error instanceof DiscordAPIError && error.code === RESTJSONErrorCodes.InteractionHasAlreadyBeenAcknowledged;
}
