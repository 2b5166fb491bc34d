// The client: one connection, one method per call.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  loadPackageDefinition,
  type CallOptions as GrpcOptions,
  type ClientReadableStream,
  type GrpcObject,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import * as answers from './answers.js';
import type { Received, ReceivedEvent, Wire } from './answers.js';
import { targetOf, type ChannelOptions } from './channel.js';
import { BridgeError, toBridgeError, type BridgeErrorCode } from './errors.js';
import { idToWire, type Id } from './ids.js';
import { presenceToWire, type Presence } from './presence.js';
import { toWire, type Json } from './value.js';

export interface ClientOptions extends ChannelOptions {
  /** Deadline of calls; 2,000 by default. */
  deadlineMs?: number;
  /** The folder that contains `altergolden/v1`; by default the package's, or this repository's. */
  protoDir?: string;
}

export interface CallOptions {
  /** Deadline of this call. */
  deadlineMs?: number;
}

export interface SubscribeOptions {
  /** Only these types; all by default. */
  types?: readonly string[];
  /** Only messages to these recipients; all by default. */
  recipients?: readonly ('all' | 'manager' | 'shard')[];
  /** Ends the subscription. */
  signal?: AbortSignal;
}

export interface GetOptions extends CallOptions {
  /** Only these fields of Discord's object; all by default. */
  fields?: readonly string[];
}

export interface EventsOptions {
  /** Discord's names, such as MESSAGE_CREATE; all by default. */
  names?: readonly string[];
  /** Only events of these shards; all by default. */
  shardIds?: readonly number[];
  /** Only events of these guilds; by default events of all guilds and of none. Gaps always come. */
  guildIds?: readonly Id[];
  /** The `cursor` of the last item that was handled: events after it come first. By default events come from now on. */
  cursor?: string;
  /** Ends the stream. */
  signal?: AbortSignal;
}

/** Time that a call waits beyond the server's deadline. */
const GRACE_MS = 500;

/** Wait between attempts of a subscription: first and longest. */
const BACK_OFF_MS = { first: 100, most: 5_000 };

/** Errors of a stream for which a retry cannot help. */
const PERMANENT: ReadonlySet<BridgeErrorCode> = new Set([
  'INVALID_ARGUMENT',
  'FAILED_PRECONDITION',
  'UNIMPLEMENTED',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
]);

const CHANNEL = {
  // These pings detect a server that disappeared, so that a subscription does not wait for ever.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  // Reconnects soon after a restart of the server.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
};

type Answered = (error: Error | null, answer: Wire) => void;
type Unary = (request: Wire, options: GrpcOptions, answered: Answered) => void;
type Streaming = (request: Wire) => ClientReadableStream<Wire>;

/** Queries and messages across all shards. Reconnects by itself; `close` ends it. */
export class ShardBridgeClient {
  readonly #stub: InstanceType<ServiceClientConstructor>;
  readonly #deadlineMs: number;

  /** Throws a TypeError for an invalid URL and for credentials that cannot be read. Connects at the first call. */
  constructor(options: ClientOptions = {}) {
    const target = targetOf(options);
    this.#deadlineMs = options.deadlineMs ?? 2_000;
    this.#stub = new (service(options.protoDir ?? defaultProtoDir()))(target.address, target.credentials, { ...CHANNEL, ...target.options });
  }

  /** Returns totals over the whole bot and per shard. `maxStalenessMs` allows figures up to this age. */
  async getAggregateStats({ maxStalenessMs, ...options }: CallOptions & { maxStalenessMs?: number } = {}) {
    const request = maxStalenessMs === undefined ? {} : { maxStalenessMs };
    return answers.statsFromWire(await this.#call('GetAggregateStats', request, options));
  }

  /** Finds a guild, from its shard's worker. */
  async findGuild(id: Id, options: CallOptions = {}) {
    return answers.guildFromWire(await this.#call('FindGuild', { guildId: idToWire(id) }, options));
  }

  /** Finds a user. The first shard that knows it ends the search, unless `all` is set. */
  async findUser(id: Id, { all = false, ...options }: CallOptions & { all?: boolean } = {}) {
    return answers.userFromWire(await this.#call('FindUser', { userId: idToWire(id), all }, options));
  }

  /** Returns a guild as Discord's object, as far as the workers cache it; undefined if the bot is not in it. */
  async getGuild(guildId: Id, options: GetOptions = {}) {
    return this.#get('GetGuild', { guildId: idToWire(guildId) }, options);
  }

  /** Returns a channel or an active thread; undefined if the bot sees none. */
  async getChannel(guildId: Id, channelId: Id, options: GetOptions = {}) {
    return this.#get('GetChannel', { guildId: idToWire(guildId), channelId: idToWire(channelId) }, options);
  }

  /** Returns a member; undefined if it is not in the guild. Throws `UNAVAILABLE` for a member that is not cached and may be there. */
  async getMember(guildId: Id, userId: Id, options: GetOptions = {}) {
    return this.#get('GetMember', { guildId: idToWire(guildId), userId: idToWire(userId) }, options);
  }

  /** Returns all roles of a guild, as a list; undefined if the bot is not in it. */
  async getRoles(guildId: Id, options: GetOptions = {}) {
    return this.#get('GetRoles', { guildId: idToWire(guildId) }, options);
  }

  /** Sets the bot's presence on shards, all by default. */
  async updatePresence(presence: Presence, { shardIds = [], ...options }: CallOptions & { shardIds?: readonly number[] } = {}) {
    return answers.presenceFromWire(await this.#call('UpdatePresence', { ...presenceToWire(presence), shardIds }, options));
  }

  /** Sends a message to every worker and subscriber. */
  async broadcast(type: string, data: Json = null, options: CallOptions = {}) {
    return answers.broadcastFromWire(await this.#call('Broadcast', { type, ...toWire(data) }, options));
  }

  /** Sends a message to a shard. */
  async sendToShard(shardId: number, type: string, data: Json = null, options: CallOptions = {}) {
    const request = { shardId, type, ...toWire(data) };
    return answers.deliveryFromWire(await this.#call('SendToShard', request, options));
  }

  /** Sends a message to the shard manager, which gets it from `subscribe`. Resolves to its id. */
  async sendToManager(type: string, data: Json = null, { shardId, ...options }: CallOptions & { shardId?: number } = {}) {
    const request = { type, ...toWire(data), ...(shardId === undefined ? {} : { shardId }) };
    return String((await this.#call('SendToManager', request, options))['messageId']);
  }

  /** Sends a request to shards, all by default, and returns each shard's reply. */
  async request(type: string, data: Json = null, { shardIds = [], ...options }: CallOptions & { shardIds?: readonly number[] } = {}) {
    const request = { type, ...toWire(data), shardIds };
    return answers.repliesFromWire(await this.#call('Request', request, options));
  }

  /**
   * Yields messages from now on, until the loop ends or `signal` aborts. Subscribes again after a lost connection and then yields
   * `missed` first, because messages sent in between are lost. Throws a BridgeError if a retry cannot help.
   */
  async *subscribe({ types = [], recipients = [], signal }: SubscribeOptions = {}): AsyncGenerator<Received, void> {
    const request = { types, recipients: recipients.map((recipient) => `MESSAGE_RECIPIENT_${recipient.toUpperCase()}`) };
    let before = false;
    for await (const item of this.#stream('Subscribe', () => request, signal)) {
      if (item === 'open') {
        yield before ? { kind: 'missed', count: undefined, reason: 'the subscription was interrupted' } : { kind: 'subscribed' };
        before = true;
      } else if ('away' in item) {
        yield { kind: 'away', reason: item.away };
      } else {
        const received = answers.receivedFromWire(item.wire);
        if (received) yield received;
      }
    }
  }

  /**
   * Yields Discord's events of all shards, until the loop ends or `signal` aborts. Goes on after the last item when the connection was lost.
   * Save the `cursor` of each item that you have handled, and give it to the next start. Throws a BridgeError if a retry cannot help.
   */
  async *events({ names = [], shardIds = [], guildIds = [], cursor = '', signal }: EventsOptions = {}): AsyncGenerator<ReceivedEvent, void> {
    const filter = { names, shardIds, guildIds: guildIds.map(idToWire) };
    for await (const item of this.#stream('Events', () => ({ ...filter, cursor }), signal)) {
      if (item === 'open') {
        yield { kind: 'listening', cursor };
      } else if ('away' in item) {
        yield { kind: 'away', cursor, reason: item.away };
      } else {
        cursor = String(item.wire['cursor']);
        const received = answers.eventFromWire(item.wire);
        if (received) yield received;
      }
    }
  }

  /** Closes the connection. */
  close(): void {
    this.#stub.close();
  }

  async #get(name: string, request: Wire, { fields = [], ...options }: GetOptions): Promise<answers.CachedObject | undefined> {
    try {
      const asked = { ...request, fields: { paths: fields }, format: 'OBJECT_FORMAT_JSON' };
      return answers.objectFromWire(await this.#call(name, asked, options));
    } catch (error) {
      // Only a shard that is ready answers so.
      if (error instanceof BridgeError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Yields the items of a stream, `open` each time that the server has accepted the call, and why the server is away. */
  async *#stream(name: 'Subscribe' | 'Events', request: () => Wire, signal: AbortSignal | undefined): AsyncGenerator<'open' | { away: string } | { wire: Wire }, void> {
    let wait = BACK_OFF_MS.first;
    while (!signal?.aborted) {
      const stream = (this.#stub[name] as Streaming).call(this.#stub, request());
      const cancel = () => stream.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        await accepted(name, stream);
        yield 'open';
        wait = BACK_OFF_MS.first;
        for await (const item of stream) yield { wire: item as Wire };
        if (signal?.aborted) return;
        yield { away: 'the server ended the stream' };
      } catch (error) {
        if (signal?.aborted) return;
        const failed = toBridgeError(name, error);
        if (PERMANENT.has(failed.code)) throw failed;
        yield { away: failed.message };
      } finally {
        // Also runs when the caller leaves the loop.
        cancel();
        signal?.removeEventListener('abort', cancel);
      }
      // Random, so that clients do not all reconnect to a restarted server at once.
      await sleep(wait * (0.5 + Math.random() / 2), undefined, signal ? { signal } : {}).catch(() => undefined);
      wait = Math.min(wait * 2, BACK_OFF_MS.most);
    }
  }

  #call(name: string, request: Wire, { deadlineMs = this.#deadlineMs }: CallOptions): Promise<Wire> {
    const call = this.#stub[name] as Unary;
    const deadline = Date.now() + deadlineMs + GRACE_MS;
    return new Promise<Wire>((resolve, reject) => {
      call.call(this.#stub, { ...request, deadlineMs }, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
    }).catch((error: unknown) => {
      throw toBridgeError(name, error);
    });
  }
}

/** Waits until the server has accepted the call. */
function accepted(name: string, stream: ClientReadableStream<Wire>): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('metadata', () => resolve());
    // This handler stays: an error before the first read must not end the process.
    stream.on('error', reject);
    stream.once('end', () => reject(new BridgeError(name, 'UNAVAILABLE', 'the server ended the stream')));
  });
}

/** `npm pack` puts the protos into the package. */
function defaultProtoDir(): string {
  const packed = fileURLToPath(new URL('../proto', import.meta.url));
  return existsSync(packed) ? packed : fileURLToPath(new URL('../../../proto', import.meta.url));
}

function service(protoDir: string): ServiceClientConstructor {
  const contract = loadSync('altergolden/v1/shard_bridge.proto', {
    includeDirs: [protoDir],
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const { altergolden } = loadPackageDefinition(contract) as { altergolden?: GrpcObject };
  return (altergolden?.['v1'] as GrpcObject)['ShardBridge'] as ServiceClientConstructor;
}
