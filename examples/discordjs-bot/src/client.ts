// discord.js's client without gateway connections, which the workers own. Events come from Redis, and commands go there.

import { Client, type Gateway, type GatewayDispatchPayload, type GatewaySendPayload, type ToEventProps } from '@discordjs/core';

/** An entry of an event stream. */
export interface Dispatched {
  shardId: number;
  payload: GatewayDispatchPayload;
}

/** An entry of the command stream. */
export interface Command {
  shardId: number;
  payload: GatewaySendPayload;
}

/** The workers' event for events of a shard that were or may have been lost. */
export const GAP = 'ALTERGOLDEN_GAP';

declare module '@discordjs/core' {
  interface MappedEvents {
    [GAP]: [ToEventProps<{ since_unix_ms: number; until_unix_ms: number; last_sequence: number; reason: string }>];
  }
}

/** Parses an entry. Throws if it is not a dispatch event. */
export function dispatched(data: unknown): Dispatched {
  const { shardId, payload } = (data ?? {}) as Partial<Dispatched>;
  if (typeof shardId !== 'number' || typeof payload?.t !== 'string') throw new Error('not a dispatch event');
  return { shardId, payload };
}

/** The sending half of the gateway. */
export class RelayGateway implements Gateway {
  readonly getShardCount: () => Promise<number>;
  readonly #publish: (command: Command) => Promise<void>;

  constructor(getShardCount: () => Promise<number>, publish: (command: Command) => Promise<void>) {
    this.getShardCount = getShardCount;
    this.#publish = publish;
  }

  /** core's listener does not wait for handlers; RelayClient.handle does. */
  on(): this {
    return this;
  }

  async send(shardId: number, payload: GatewaySendPayload): Promise<void> {
    await this.#publish({ shardId, payload });
  }
}

/** discord.js's client with handlers that can be awaited. */
export class RelayClient extends Client {
  /** Calls an event's handlers and waits for all of them. Throws their errors. */
  async handle({ shardId, payload }: Dispatched): Promise<void> {
    const event = { api: this.api, shardId, data: payload.d };
    const handlers = this.rawListeners(payload.t) as ((event: unknown) => unknown)[];
    const done = await Promise.allSettled(handlers.map(async (handler) => handler(event)));
    const failed = done.filter((one) => one.status === 'rejected').map((one): unknown => one.reason);
    if (failed.length > 0) throw failed.length === 1 ? failed[0] : new AggregateError(failed);
  }
}
