// How the client connects: plain, or over TLS with a certificate or a bearer token (docs/security.md).

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, credentials, type ChannelCredentials } from '@grpc/grpc-js';

export interface ChannelOptions {
  /** The coordinator or any worker; by default `COORDINATOR_URL` or http://127.0.0.1:50051. `HOST:PORT` alone means https with credentials. */
  url?: string;
  /** PEM file with certificate, key and CA, or the folder of `altergolden credentials init`; by default `CREDENTIALS`. */
  credentials?: string;
  /** A bearer token in place of a certificate; needs `ca`. By default `COORDINATOR_TOKEN`. */
  token?: string;
  /** PEM file with the CA; needed with a token. By default `COORDINATOR_CA`. */
  ca?: string;
  /** The fleet's name in its certificates; by default `FLEET` or altergolden. */
  fleet?: string;
  /** What answers at `url`; by default the coordinator. Only TLS needs to know. */
  server?: 'coordinator' | 'worker';
}

/** Where to connect, and how. */
export interface Target {
  address: string;
  credentials: ChannelCredentials;
  options: Record<string, string | number>;
}

/** Throws a TypeError that names the option. */
export function targetOf(options: ChannelOptions): Target {
  const env = process.env;
  const secured = channelCredentials(
    options.credentials ?? env['CREDENTIALS'],
    options.token ?? env['COORDINATOR_TOKEN'],
    options.ca ?? env['COORDINATOR_CA'],
  );
  const given = options.url || env['COORDINATOR_URL'] || '127.0.0.1:50051';
  const scheme = secured ? 'https:' : 'http:';
  const url = given.includes('://') ? given : `${scheme}//${given}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed?.port || !['http:', 'https:'].includes(parsed.protocol)) {
    throw new TypeError(`COORDINATOR_URL: must be a URL such as http://127.0.0.1:50051, not ${given}`);
  }
  if (parsed.protocol !== scheme) {
    const why = secured ? 'must be https://, as credentials are set' : 'an https:// address needs CREDENTIALS, or COORDINATOR_TOKEN and COORDINATOR_CA';
    throw new TypeError(`COORDINATOR_URL: ${why}`);
  }
  if (!secured) return { address: parsed.host, credentials: credentials.createInsecure(), options: {} };
  // Certificates name roles, as addresses change.
  const name = `${options.server ?? 'coordinator'}.${options.fleet || env['FLEET'] || 'altergolden'}.altergolden`;
  return { address: parsed.host, credentials: secured, options: { 'grpc.ssl_target_name_override': name } };
}

function channelCredentials(file: string | undefined, token: string | undefined, ca: string | undefined): ChannelCredentials | undefined {
  if (token) {
    if (!ca) throw new TypeError('COORDINATOR_TOKEN: set COORDINATOR_CA to the file with the CA (ca.pem) too');
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    const bearer = credentials.createFromMetadataGenerator((_, callback) => callback(null, metadata));
    return credentials.combineChannelCredentials(credentials.createSsl(read('COORDINATOR_CA', ca)), bearer);
  }
  if (!file) return undefined;
  const pem = read('CREDENTIALS', file);
  // One file has all three; each reader takes its blocks.
  return credentials.createSsl(pem, pem, pem);
}

function read(option: string, path: string): Buffer {
  try {
    return readFileSync(statSync(path).isDirectory() ? join(path, 'bot.pem') : path);
  } catch (error) {
    throw new TypeError(`${option}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
