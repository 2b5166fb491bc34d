// The client: one connection, one method per call.

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
import type { Received, Wire } from './answers.js';
import { targetOf, type ChannelOptions } from './channel.js';
import { BridgeError, toBridgeError, type BridgeErrorCode } from './errors.js';
import { idToWire, type Id } from './ids.js';
import { toWire, type Json } from './value.js';

export interface ClientOptions extends ChannelOptions {
  /** Deadline of calls; 2,000 by default. */
  deadlineMs?: number;
  /** The folder that contains `altergolden/v1`; by default this repository's. */
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

/** Time that a call waits beyond the server's deadline. */
const GRACE_MS = 500;

/** Wait between attempts of a subscription: first and longest. */
const BACK_OFF_MS = { first: 100, most: 5_000 };

/** Errors of a subscription for which a retry cannot help. */
const PERMANENT: ReadonlySet<BridgeErrorCode> = new Set([
  'INVALID_ARGUMENT',
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
    const protoDir = options.protoDir ?? fileURLToPath(new URL('../../../proto', import.meta.url));
    this.#stub = new (service(protoDir))(target.address, target.credentials, { ...CHANNEL, ...target.options });
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
    let wait = BACK_OFF_MS.first;
    while (!signal?.aborted) {
      const stream = (this.#stub['subscribe'] as Streaming).call(this.#stub, request);
      const cancel = () => stream.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        await accepted(stream);
        yield before ? { kind: 'missed', count: undefined, reason: 'the subscription was interrupted' } : { kind: 'subscribed' };
        before = true;
        wait = BACK_OFF_MS.first;
        for await (const item of stream) {
          const received = answers.receivedFromWire(item as Wire);
          if (received) yield received;
        }
        if (signal?.aborted) return;
        yield { kind: 'away', reason: 'the server ended the subscription' };
      } catch (error) {
        if (signal?.aborted) return;
        const failed = toBridgeError('Subscribe', error);
        if (PERMANENT.has(failed.code)) throw failed;
        yield { kind: 'away', reason: failed.message };
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

  /** Closes the connection. */
  close(): void {
    this.#stub.close();
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
function accepted(stream: ClientReadableStream<Wire>): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('metadata', () => resolve());
    // This handler stays: an error before the first read must not end the process.
    stream.on('error', reject);
    stream.once('end', () => reject(new BridgeError('Subscribe', 'UNAVAILABLE', 'the server ended the subscription')));
  });
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
