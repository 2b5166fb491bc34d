// Logs lines of JSON to standard output.

export type Level = 'debug' | 'info' | 'warn' | 'error';
export const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error'];

let least: Level = 'info';

/** Sets the lowest level that is logged. */
export function setLogLevel(level: Level): void {
  least = level;
}

export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
  console.log(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
}

/** Returns an error's message, without the request's URL that discord.js's errors have: it contains the interaction's token. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
