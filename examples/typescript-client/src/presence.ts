// The bot's presence, as callers give it and as it is sent.

import type { Wire } from './answers.js';

/** A presence. An empty one is online without an activity. */
export interface Presence {
  status?: 'online' | 'do_not_disturb' | 'idle' | 'invisible';
  activities?: readonly Activity[];
  afk?: boolean;
  /** Since when the bot is idle. */
  since?: Date;
}

/** What the bot is doing. */
export interface Activity {
  /** Not empty, even for a custom status. */
  name: string;
  /** Discord's number: 0 playing (the default), 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing. */
  type?: number;
  /** The text of a custom status. */
  state?: string;
  /** The stream's URL, for type 1. */
  url?: string;
}

export function presenceToWire({ status = 'online', activities = [], afk = false, since }: Presence): Wire {
  const time = since === undefined ? {} : { sinceUnixMs: since.getTime() };
  return { status: `PRESENCE_STATUS_${status.toUpperCase()}`, activities, afk, ...time };
}
