// Reads the workers' events from Redis without losing any: brokers' PubSubRedisBroker with a different read loop.
//
// An entry is acknowledged only after its handler is done. A process claims unfinished entries again: its own at its
// start, and other consumers' once they were idle for long enough. So an entry may be handled twice but is never lost. This broker never deletes its consumer,
// because Redis would drop the consumer's pending entries; for this reason it does not use brokers' `unsubscribe` and `destroy`.

import { setTimeout as sleep } from 'node:timers/promises';
import { PubSubRedisBroker } from '@discordjs/brokers';
import type { Redis } from 'ioredis';

export interface BrokerOptions {
  group: string;
  /** Name of this process: unique in the group and stable across restarts. */
  name: string;
  /** Idle time after which another consumer claims an unfinished entry. A handler has two thirds of it. */
  claimAfterMs: number;
  /** Entries handled at once; at least one per stream. */
  inFlight: number;
  /** Handles an entry. Errors are reported, and the entry counts as handled. */
  handle(data: unknown): Promise<void>;
  /** Reports a failure from which the broker recovers. */
  problem(what: string, error: unknown, fields?: Record<string, unknown>): void;
}

/** Time that a read waits for entries, and so the longest delay of a stop. */
const BLOCK_MS = 1_000;
/** Wait between attempts while Redis is unreachable: first and longest. */
const BACK_OFF_MS = { first: 100, most: 5_000 };
/** Pending entries fetched per page when claiming. */
const PAGE = 100;
/** Deliveries after which an unhandled entry is set aside: it has killed its process each time. */
const MOST_DELIVERIES = 5;
/** Entries set aside per stream. */
const SET_ASIDE = 1_000;

type Entry = [id: Buffer, fields: Buffer[]];
type Pending = [id: string, consumer: string, idleMs: number, deliveries: number];

export class RelayBroker extends PubSubRedisBroker<Record<string, unknown>> {
  readonly #relay: BrokerOptions;
  readonly #running = new Map<string, Promise<void>>();
  #listening = Promise.resolve();
  #stopping = false;
  /** Own entries may be pending but not being handled: at the start, and after a reply was lost with its connection. */
  #leftOver = true;

  constructor(redis: Redis, relay: BrokerOptions) {
    super(redis, { group: relay.group, name: relay.name, blockTimeout: BLOCK_MS });
    this.#relay = relay;
    for (const client of [this.redisClient, this.streamReadClient]) {
      client.on('error', (error) => relay.problem('Redis connection error', error));
    }
    this.streamReadClient.on('ready', () => (this.#leftOver = true));
  }

  /** Reads until `stop`, through all failures of Redis. `subscribe` calls it. */
  protected override listen(): Promise<void> {
    if (!this.listening) this.#listening = this.#read();
    return this.#listening;
  }

  async #read(): Promise<void> {
    this.listening = true;
    let wait = BACK_OFF_MS.first;
    let nextClaim = 0;
    while (!this.#stopping) {
      try {
        if (this.#leftOver) {
          this.#leftOver = false;
          await this.#claim({ own: true });
        }
        if (Date.now() >= nextClaim) {
          nextClaim = Date.now() + this.#relay.claimAfterMs / 2;
          await this.#claim({ own: false });
        }
        await this.#readNew();
        wait = BACK_OFF_MS.first;
      } catch (error) {
        this.#leftOver = true;
        this.#relay.problem('cannot read events', error);
        await sleep(wait);
        wait = Math.min(wait * 2, BACK_OFF_MS.most);
        // A Redis that lost its data has also lost the groups.
        if (String(error).includes('NOGROUP')) await this.subscribe([...this.subscribedEvents]).catch(() => undefined);
      }
    }
    this.listening = false;
  }

  async #readNew(): Promise<void> {
    const streams = [...this.subscribedEvents];
    const room = await this.#room(streams.length);
    if (this.#stopping) return;
    const { group, name } = this.#relay;
    const read = await this.streamReadClient.xreadgroupBuffer(
      ...['GROUP', group, name, 'COUNT', String(Math.floor(room / streams.length)), 'BLOCK', String(BLOCK_MS)],
      ...['STREAMS', ...streams, ...streams.map(() => '>')],
    );
    for (const [stream, entries] of read ?? []) {
      for (const entry of entries) this.#begin(stream.toString(), entry);
    }
  }

  /** Claims unhandled entries: all of this consumer's own, or the idle ones of any consumer. */
  async #claim({ own }: { own: boolean }): Promise<void> {
    const { group, name, claimAfterMs } = this.#relay;
    for (const stream of this.subscribedEvents) {
      let from = '-';
      for (;;) {
        const whose = own ? [name] : [];
        const page = (await this.redisClient.call(
          'XPENDING',
          ...[stream, group, 'IDLE', own ? 0 : claimAfterMs, from, '+', PAGE, ...whose],
        )) as Pending[];
        for (const [id, , , deliveries] of page) {
          if (this.#running.has(key(stream, id))) continue;
          await this.#room(1);
          if (this.#stopping) return;
          await this.#claimOne(stream, id, own ? 0 : claimAfterMs, deliveries);
        }
        const last = page.at(-1);
        if (!last) break;
        from = `(${last[0]}`;
      }
    }
  }

  async #claimOne(stream: string, id: string, idleMs: number, deliveries: number): Promise<void> {
    const { group, name } = this.#relay;
    const [entry] = (await this.redisClient.callBuffer('XCLAIM', stream, group, name, idleMs, id)) as (Entry | null)[];
    if (!entry) {
      // Another consumer claimed it, or it was trimmed from its stream. Redis 7 then drops the pending entry itself; older versions need this XACK.
      if (entry === null) await this.redisClient.xack(stream, group, id);
      if (idleMs === 0) this.#relay.problem('event trimmed from its stream before it was handled', undefined, { stream, id });
      return;
    }
    if (deliveries >= MOST_DELIVERIES) {
      await this.redisClient.xadd(`${stream}:set_aside`, 'MAXLEN', '~', SET_ASIDE, '*', 'id', id, ...entry[1]);
      await this.redisClient.xack(stream, group, id);
      this.#relay.problem('event set aside: every process that handled it died', undefined, { stream, id, deliveries });
      return;
    }
    const handled = this.#begin(stream, entry);
    // It may have killed its process before: handle it alone, so that no other entry is affected.
    if (deliveries > 1) await handled;
  }

  #begin(stream: string, [id, fields]: Entry): Promise<void> {
    const running = key(stream, String(id));
    const handled = this.#handle(stream, String(id), fields).finally(() => this.#running.delete(running));
    this.#running.set(running, handled);
    return handled;
  }

  async #handle(stream: string, id: string, fields: Buffer[]): Promise<void> {
    try {
      const at = fields.findIndex((field, index) => index % 2 === 0 && field.toString() === 'data');
      const data = fields[at + 1];
      if (at < 0 || !data) throw new Error('entry has no data');
      await within((this.#relay.claimAfterMs * 2) / 3, this.#relay.handle(this.options.decode(data)));
    } catch (error) {
      this.#relay.problem('event handler failed', error, { stream, id });
    }
    try {
      await this.redisClient.xack(stream, this.#relay.group, id);
    } catch (error) {
      // It will be delivered again.
      this.#relay.problem('cannot acknowledge event', error, { stream, id });
    }
  }

  /** Waits until `wanted` more entries may be handled. Resolves to the number that may. */
  async #room(wanted: number): Promise<number> {
    const most = Math.max(this.#relay.inFlight, wanted);
    while (most - this.#running.size < wanted && !this.#stopping) await Promise.race(this.#running.values());
    return most - this.#running.size;
  }

  /** Stops reading, waits for running handlers and closes the connections. Resolves to whether all finished in time. */
  async stop(drainMs: number): Promise<boolean> {
    this.#stopping = true;
    const finished = this.#listening.then(() => Promise.all(this.#running.values()));
    const inTime = await within(drainMs, finished).then(
      () => true,
      () => false,
    );
    this.streamReadClient.disconnect();
    this.redisClient.disconnect();
    return inTime;
  }
}

function key(stream: string, id: string): string {
  return `${stream} ${id}`;
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(milliseconds, undefined, { signal: timer.signal }).then(
    () => Promise.reject(new Error(`not done within ${milliseconds} ms`)),
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
