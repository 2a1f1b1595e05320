/** Certificates for TLS tests: an authority, a server's and a client's certificate that it signed, and a second authority. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installHint } from '../../scripts/install-hints.mjs';
import { watchedFolder } from './watched.ts';

export interface Certificate {
  certFile: string;
  keyFile: string;
  /** The texts of the files, for the `tls` option of a client. */
  cert: string;
  key: string;
}

export interface Certificates {
  ca: Certificate;
  /** Valid for localhost and 127.0.0.1. */
  server: Certificate;
  client: Certificate;
  /** An authority that signed none of these certificates. A client that trusts only this authority must fail. */
  strangerCa: Certificate;
}

const settings = `
[req]
distinguished_name = dn
prompt = no
[dn]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`;

let made: Promise<Certificates> | undefined;

/** Makes the certificates once per process; they are valid for two days. */
export function certificates(): Promise<Certificates> {
  made ??= make();
  return made;
}

async function make(): Promise<Certificates> {
  const dir = watchedFolder();
  const config = join(dir, 'openssl.cnf');
  writeFileSync(config, settings);
  const authority = async (name: string) => {
    const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
    await openssl(
      'req',
      '-x509',
      '-config',
      config,
      '-extensions',
      'authority',
      '-subj',
      `/CN=${name}`,
      '-days',
      '2',
      ...newKey(files.key),
      '-out',
      files.cert,
    );
    return read(files);
  };
  const signed = async (name: string, ca: Certificate, serial: number) => {
    const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
    const request = join(dir, `${name}.csr`);
    await openssl('req', '-new', '-config', config, '-subj', `/CN=${name}`, ...newKey(files.key), '-out', request);
    await openssl(
      'x509',
      '-req',
      '-in',
      request,
      '-CA',
      ca.certFile,
      '-CAkey',
      ca.keyFile,
      '-set_serial',
      String(serial),
      '-days',
      '2',
      '-extfile',
      config,
      '-extensions',
      'leaf',
      '-out',
      files.cert,
    );
    return read(files);
  };
  const ca = await authority('test-authority');
  return {
    ca,
    server: await signed('localhost', ca, 2),
    client: await signed('test-client', ca, 3),
    strangerCa: await authority('stranger'),
  };
}

function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file];
}

function read(files: { cert: string; key: string }): Certificate {
  return {
    certFile: files.cert,
    keyFile: files.key,
    cert: readFileSync(files.cert, 'utf8'),
    key: readFileSync(files.key, 'utf8'),
  };
}

/** Runs openssl. */
export async function openssl(...args: string[]): Promise<void> {
  await promisify(execFile)('openssl', args).catch((error) => {
    throw error.code === 'ENOENT' ? new Error(installHint('openssl', 'TLS tests make their certificates with it')) : error;
  });
}
