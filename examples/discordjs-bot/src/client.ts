// discord.js's client without its connections: those are the workers'. Its events come out of Redis, its commands go in.

import { Client, type Gateway, type GatewayDispatchPayload, type GatewaySendPayload, type ToEventProps } from '@discordjs/core';

/** What an entry of an event's stream holds. */
export interface Dispatched {
  shardId: number;
  payload: GatewayDispatchPayload;
}

/** What an entry of the stream of commands holds. */
export interface Command {
  shardId: number;
  payload: GatewaySendPayload;
}

/** Events of a shard that were or may have been lost: the workers' own event, in a stream of its own. */
export const GAP = 'ALTERGOLDEN_GAP';

declare module '@discordjs/core' {
  interface MappedEvents {
    [GAP]: [ToEventProps<{ since_unix_ms: number; until_unix_ms: number; last_sequence: number; reason: string }>];
  }
}

/** Throws for what is no event. */
export function dispatched(data: unknown): Dispatched {
  const { shardId, payload } = (data ?? {}) as Partial<Dispatched>;
  if (typeof shardId !== 'number' || typeof payload?.t !== 'string') throw new Error('it is no dispatch event');
  return { shardId, payload };
}

/** The half of the gateway that sends. */
export class RelayGateway implements Gateway {
  readonly getShardCount: () => Promise<number>;
  readonly #publish: (command: Command) => Promise<void>;

  constructor(getShardCount: () => Promise<number>, publish: (command: Command) => Promise<void>) {
    this.getShardCount = getShardCount;
    this.#publish = publish;
  }

  /** core's own listener emits and forgets; RelayClient.handle waits for the handlers instead. */
  on(): this {
    return this;
  }

  async send(shardId: number, payload: GatewaySendPayload): Promise<void> {
    await this.#publish({ shardId, payload });
  }
}

/** discord.js's client, whose handlers can be waited for. */
export class RelayClient extends Client {
  /** Gives an event to its handlers, and waits for all of them. Throws what they threw. */
  async handle({ shardId, payload }: Dispatched): Promise<void> {
    const event = { api: this.api, shardId, data: payload.d };
    const handlers = this.rawListeners(payload.t) as ((event: unknown) => unknown)[];
    const done = await Promise.allSettled(handlers.map(async (handler) => handler(event)));
    const failed = done.filter((one) => one.status === 'rejected').map((one): unknown => one.reason);
    if (failed.length > 0) throw failed.length === 1 ? failed[0] : new AggregateError(failed);
  }
}
