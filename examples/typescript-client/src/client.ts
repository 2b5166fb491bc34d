// The client: one connection, one method a call.

import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  credentials,
  loadPackageDefinition,
  type CallOptions as GrpcOptions,
  type ClientReadableStream,
  type GrpcObject,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import * as answers from './answers.js';
import type { Received, Wire } from './answers.js';
import { BridgeError, toBridgeError, type BridgeErrorCode } from './errors.js';
import { idToWire, type Id } from './ids.js';
import { toWire, type Json } from './value.js';

export interface ClientOptions {
  /** The coordinator, or any worker; `COORDINATOR_URL` or http://127.0.0.1:50051 when absent. */
  url?: string;
  /** How long a call may take; 2,000 when absent. */
  deadlineMs?: number;
  /** The folder that holds `altergolden/v1`; this repository's when absent. */
  protoDir?: string;
}

export interface CallOptions {
  /** How long this call may take. */
  deadlineMs?: number;
}

export interface SubscribeOptions {
  /** Only these types; all when absent. */
  types?: readonly string[];
  /** Only messages to these; to all of them when absent. */
  recipients?: readonly ('all' | 'manager' | 'shard')[];
  /** Ends it. */
  signal?: AbortSignal;
}

/** How much longer than the server's own deadline a call is waited for. */
const GRACE_MS = 500;

/** Between two tries of a subscription, at first and at most. */
const BACK_OFF_MS = { first: 100, most: 5_000 };

/** A subscription that ends with one of these would end with it again. */
const FOR_GOOD: ReadonlySet<BridgeErrorCode> = new Set([
  'INVALID_ARGUMENT',
  'UNIMPLEMENTED',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
]);

const CHANNEL = {
  // A peer that is gone without a word is found by these pings, so that a subscription does not wait for it for ever.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  // One that starts again is found soon.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
};

type Answered = (error: Error | null, answer: Wire) => void;
type Unary = (request: Wire, options: GrpcOptions, answered: Answered) => void;
type Streaming = (request: Wire) => ClientReadableStream<Wire>;

/** Asks and tells across all shards. It reconnects by itself; `close` ends it. */
export class ShardBridgeClient {
  readonly #stub: InstanceType<ServiceClientConstructor>;
  readonly #deadlineMs: number;

  /** Throws a TypeError for a wrong URL. It connects at the first call. */
  constructor(options: ClientOptions = {}) {
    const url = options.url ?? process.env['COORDINATOR_URL'] ?? 'http://127.0.0.1:50051';
    this.#deadlineMs = options.deadlineMs ?? 2_000;
    const protoDir = options.protoDir ?? fileURLToPath(new URL('../../../proto', import.meta.url));
    this.#stub = new (service(protoDir))(addressOf(url), credentials.createInsecure(), CHANNEL);
  }

  /** Totals over the whole bot, and each shard by itself. With `maxStalenessMs`, figures up to that old will do. */
  async getAggregateStats({ maxStalenessMs, ...options }: CallOptions & { maxStalenessMs?: number } = {}) {
    const request = maxStalenessMs === undefined ? {} : { maxStalenessMs };
    return answers.statsFromWire(await this.#call('GetAggregateStats', request, options));
  }

  /** One guild, from the worker that runs its shard. */
  async findGuild(id: Id, options: CallOptions = {}) {
    return answers.guildFromWire(await this.#call('FindGuild', { guildId: idToWire(id) }, options));
  }

  /** One user. The first shard that knows it ends the search, unless `all` are asked for. */
  async findUser(id: Id, { all = false, ...options }: CallOptions & { all?: boolean } = {}) {
    return answers.userFromWire(await this.#call('FindUser', { userId: idToWire(id), all }, options));
  }

  /** One message to every worker, and to everybody who is subscribed. */
  async broadcast(type: string, data: Json = null, options: CallOptions = {}) {
    return answers.broadcastFromWire(await this.#call('Broadcast', { type, ...toWire(data) }, options));
  }

  /** A message to one shard. */
  async sendToShard(shardId: number, type: string, data: Json = null, options: CallOptions = {}) {
    const request = { shardId, type, ...toWire(data) };
    return answers.deliveryFromWire(await this.#call('SendToShard', request, options));
  }

  /** Sends a message to the shard manager: it arrives on `subscribe`. Resolves to its id. */
  async sendToManager(type: string, data: Json = null, { shardId, ...options }: CallOptions & { shardId?: number } = {}) {
    const request = { type, ...toWire(data), ...(shardId === undefined ? {} : { shardId }) };
    return String((await this.#call('SendToManager', request, options))['messageId']);
  }

  /** A question of the bot's own, with each shard's reply; all shards when none is named. */
  async request(type: string, data: Json = null, { shardIds = [], ...options }: CallOptions & { shardIds?: readonly number[] } = {}) {
    const request = { type, ...toWire(data), shardIds };
    return answers.repliesFromWire(await this.#call('Request', request, options));
  }

  /**
   * The messages from now on, until the loop is left or `signal` aborts. It subscribes again whenever the connection is lost, and then
   * yields `missed` first, as what was sent meanwhile did not come. Throws a BridgeError where trying again is no use.
   */
  async *subscribe({ types = [], recipients = [], signal }: SubscribeOptions = {}): AsyncGenerator<Received, void> {
    const request = { types, recipients: recipients.map((who) => `MESSAGE_RECIPIENT_${who.toUpperCase()}`) };
    let before = false;
    let wait = BACK_OFF_MS.first;
    while (!signal?.aborted) {
      const stream = (this.#stub['subscribe'] as Streaming).call(this.#stub, request);
      const cancel = () => stream.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        await accepted(stream);
        yield before ? { kind: 'missed', count: undefined, reason: 'the subscription was away' } : { kind: 'subscribed' };
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
        if (FOR_GOOD.has(failed.code)) throw failed;
        yield { kind: 'away', reason: failed.message };
      } finally {
        // Also where the caller has left the loop.
        cancel();
        signal?.removeEventListener('abort', cancel);
      }
      // Spread, so that a restarted server is not asked by everybody at once.
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

/** The server has taken the call. */
function accepted(stream: ClientReadableStream<Wire>): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('metadata', () => resolve());
    // It stays: an error between here and the first read must not end the process.
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

function addressOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== 'http:' || !parsed.port) {
    throw new TypeError(`COORDINATOR_URL: it takes a URL like http://127.0.0.1:50051, not ${url}`);
  }
  return parsed.host;
}
