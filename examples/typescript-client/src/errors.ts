// What a call throws.

import { status, type ServiceError } from '@grpc/grpc-js';

/** The name of a gRPC status code. */
export type BridgeErrorCode = Exclude<keyof typeof status, 'OK'>;

/** These may go well when they are tried again. What changes something may have happened all the same. */
const PASSING: ReadonlySet<BridgeErrorCode> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'ABORTED', 'RESOURCE_EXHAUSTED']);

/** A call that got no answer. An incomplete answer is not an error. */
export class BridgeError extends Error {
  /** What kind: `UNAVAILABLE` when no server answers, `DEADLINE_EXCEEDED` when none did in time, `INVALID_ARGUMENT`, and so on. */
  readonly code: BridgeErrorCode;
  /** Which call. */
  readonly call: string;
  /** It may go well when it is tried again. */
  readonly passing: boolean;

  constructor(call: string, code: BridgeErrorCode, reason: string, options?: ErrorOptions) {
    super(`${call}: ${reason} (${code})`, options);
    this.name = 'BridgeError';
    this.call = call;
    this.code = code;
    this.passing = PASSING.has(code);
  }
}

/** From what grpc-js reports. */
export function toBridgeError(call: string, error: unknown): BridgeError {
  const { code, details, message } = error as Partial<ServiceError>;
  const name = (code === undefined ? undefined : status[code]) as BridgeErrorCode | undefined;
  return new BridgeError(call, name ?? 'UNKNOWN', details || message || String(error), { cause: error });
}
