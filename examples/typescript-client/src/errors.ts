// The error of a failed call.

import { status, type ServiceError } from '@grpc/grpc-js';

/** The name of a gRPC status code. */
export type BridgeErrorCode = Exclude<keyof typeof status, 'OK'>;

/** Errors for which a retry may help. A call that changes something may have taken effect anyway. */
const PASSING: ReadonlySet<BridgeErrorCode> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'ABORTED', 'RESOURCE_EXHAUSTED']);

/** A failed call. An incomplete answer is not an error. */
export class BridgeError extends Error {
  /** gRPC status: `UNAVAILABLE` if no server answers, `DEADLINE_EXCEEDED` if none answered in time, `INVALID_ARGUMENT`, and so on. */
  readonly code: BridgeErrorCode;
  /** Name of the call. */
  readonly call: string;
  /** Whether a retry may help. */
  readonly passing: boolean;

  constructor(call: string, code: BridgeErrorCode, reason: string, options?: ErrorOptions) {
    super(`${call}: ${reason} (${code})`, options);
    this.name = 'BridgeError';
    this.call = call;
    this.code = code;
    this.passing = PASSING.has(code);
  }
}

/** Converts an error of grpc-js. */
export function toBridgeError(call: string, error: unknown): BridgeError {
  const { code, details, message } = error as Partial<ServiceError>;
  const name = (code === undefined ? undefined : status[code]) as BridgeErrorCode | undefined;
  return new BridgeError(call, name ?? 'UNKNOWN', details || message || String(error), { cause: error });
}
