// A line of JSON for each thing worth saying, on standard output.

export type Level = 'debug' | 'info' | 'warn' | 'error';
export const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error'];

let least: Level = 'info';

/** From here on, nothing below this level is said. */
export function sayFrom(level: Level): void {
  least = level;
}

export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
  console.log(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
}

/** What went wrong, in words. discord.js's errors hold the request's URL, with the interaction's token: it is left out. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
