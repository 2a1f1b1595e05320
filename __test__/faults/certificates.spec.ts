/** Certificates as teams make them with openssl's one-line commands: what OpenSSL trusts is trusted, and nothing more. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RedisTlsConfig } from 'redis-backplane';
import { beforeAll, describe, expect, it } from 'vitest';
import { openssl } from '../support/certificates.ts';
import { failureOf } from '../support/failure.ts';
import { runProcess } from '../support/process.ts';
import { useRig } from '../support/rig.ts';
import { watchedFolder } from '../support/watched.ts';

const rig = useRig();
const dir = watchedFolder();
const path = (name: string) => join(dir, name);
const pem = (name: string) => readFileSync(path(name), 'utf8');
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A certificate that signed itself, made in one command. */
async function selfSigned(name: string, subject: string, ...more: string[]) {
  await openssl(
    'req',
    '-x509',
    ...NEW_KEY,
    '-keyout',
    path(`${name}.key`),
    '-out',
    path(`${name}.crt`),
    '-days',
    '2',
    '-subj',
    subject,
    ...more,
  );
}

/** A certificate for `request.csr`'s key, signed by an authority; without `extensions` it is of version 1. */
async function signed(name: string, authority: string, extensions?: string, days = '2') {
  writeFileSync(path(`${name}.cnf`), extensions ?? '');
  const sign = ['-CA', path(`${authority}.crt`), '-CAkey', path(`${authority}.key`), '-CAcreateserial', '-days', days];
  const extra = extensions === undefined ? [] : ['-extfile', path(`${name}.cnf`)];
  await openssl('x509', '-req', '-in', path('request.csr'), ...sign, ...extra, '-out', path(`${name}.crt`));
}

/** A server that shows the certificate `name` with the key `key`. */
function serverWith(name: string, key = 'request') {
  return rig.server({ tls: true, certificate: { certFile: path(`${name}.crt`), keyFile: path(`${key}.key`), caFile: path('ca.crt') } });
}

async function connects(name: string, tls: RedisTlsConfig, { key = 'request', host = 'localhost' } = {}) {
  const server = await serverWith(name, key);
  const manager = rig.manager({ host, port: server.port, tls });
  expect(await manager.command('PING')).toBe('PONG');
}

async function isRefused(name: string, tls: RedisTlsConfig, { key = 'request', host = 'localhost' } = {}) {
  const server = await serverWith(name, key);
  const error = await failureOf(rig.manager({ host, port: server.port, tls }).connect());
  expect(error.redisErrorKind, error.message).toBe('tls');
  return error;
}

beforeAll(async () => {
  await selfSigned('self', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost');
  await selfSigned('other-self', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost');
  await selfSigned('ca', '/CN=my CA');
  await selfSigned('stranger', '/CN=my CA');
  await openssl('req', '-new', ...NEW_KEY, '-keyout', path('request.key'), '-out', path('request.csr'), '-subj', '/CN=localhost');
  await signed('version1', 'ca');
  await signed('common-name', 'ca', 'basicConstraints=CA:FALSE\n');
  await signed('good', 'ca', 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n');
  await signed('elsewhere', 'ca', 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:elsewhere.example\n');
  await signed('for-clients', 'ca', 'basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n');
  await selfSigned('bounded', '/CN=bounded CA', '-addext', 'nameConstraints=permitted;DNS:elsewhere.example');
  await signed('out-of-bounds', 'bounded', 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n');
  await signed('out-of-bounds-by-name', 'bounded', 'basicConstraints=CA:FALSE\n');
  await signed('unknown-critical', 'ca', 'basicConstraints=CA:FALSE\n1.2.3.4=critical,ASN1:NULL\n');
  // The key of `request` used as if it were an authority's, by certificates that do not allow it.
  await openssl('req', '-new', ...NEW_KEY, '-keyout', path('leaf.key'), '-out', path('leaf.csr'), '-subj', '/CN=localhost');
  const byLeaf = ['-CA', path('version1.crt'), '-CAkey', path('request.key'), '-CAcreateserial', '-days', '2'];
  await openssl('x509', '-req', '-in', path('leaf.csr'), ...byLeaf, '-out', path('by-leaf-alone.crt'));
  writeFileSync(path('by-leaf.crt'), pem('by-leaf-alone.crt') + pem('version1.crt'));
  await openssl('pkcs8', '-topk8', '-in', path('request.key'), '-passout', 'pass:open sesame', '-out', path('encrypted.key'));
  await openssl('ec', '-in', path('request.key'), '-aes128', '-passout', 'pass:open sesame', '-out', path('old.key'));
});

describe('a server certificate that OpenSSL trusts is trusted where its authority is given', () => {
  it('signed by itself', () => connects('self', { ca: pem('self.crt') }, { key: 'self' }));
  it('of X.509 version 1', () => connects('version1', { ca: pem('ca.crt') }));
  it('with the host as its common name alone', () => connects('common-name', { ca: pem('ca.crt') }));
  it('by a list of authorities, one of them the right one, as texts or bytes', () =>
    connects('good', { ca: [pem('self.crt'), Buffer.from(pem('ca.crt'))] }));
  it('by several authorities in one text', () => connects('version1', { ca: pem('stranger.crt') + pem('ca.crt') }));
  it('for an address among its alternative names', () => connects('good', { ca: pem('ca.crt') }, { host: '127.0.0.1' }));
});

describe('a server certificate that OpenSSL refuses is refused', () => {
  it('signed by itself, and another one of that name was given', () =>
    isRefused('other-self', { ca: pem('self.crt') }, { key: 'other-self' }));
  it('signed by itself, and nobody was given', () => isRefused('self', {}, { key: 'self' }));
  it('of version 1, signed by a stranger of the same name', async () => {
    const error = await isRefused('version1', { ca: pem('stranger.crt') });
    expect(error.message).toContain('no authority in tls.ca has signed the certificate');
  });
  it('with a common name, but other alternative names', () => isRefused('elsewhere', { ca: pem('ca.crt') }));
  it('with a common name alone, and the host is an address', () => isRefused('common-name', { ca: pem('ca.crt') }, { host: '127.0.0.1' }));
  it('with a common name of another host', () => isRefused('common-name', { ca: pem('ca.crt'), servername: 'elsewhere.example' }));
  it('of version 1 and of another host', () => isRefused('version1', { ca: pem('ca.crt'), servername: 'elsewhere.example' }));
  it('for clients only', () => isRefused('for-clients', { ca: pem('ca.crt') }));
  it('for a host that its authority may not sign for', async () => {
    await isRefused('out-of-bounds', { ca: pem('bounded.crt') });
    await isRefused('out-of-bounds-by-name', { ca: pem('bounded.crt') });
  });
  it('with a critical extension that nobody knows', () => isRefused('unknown-critical', { ca: pem('ca.crt') }));
  it('signed by a server certificate of version 1', () => isRefused('by-leaf', { ca: pem('ca.crt') }, { key: 'leaf' }));
});

describe('rejectUnauthorized: false', () => {
  it('accepts any certificate: signed by itself, of version 1, of another host', async () => {
    await connects('self', { rejectUnauthorized: false }, { key: 'self' });
    await connects('version1', { rejectUnauthorized: false });
    await connects('elsewhere', { rejectUnauthorized: false });
  });

  it('accepts a certificate of version 1 in TLS 1.2 too', async () => {
    const server = await rig.server({
      tls: true,
      certificate: { certFile: path('version1.crt'), keyFile: path('request.key'), caFile: path('ca.crt') },
      config: { 'tls-protocols': '"TLSv1.2"' },
    });
    for (const tls of [{ rejectUnauthorized: false }, { ca: pem('ca.crt') }]) {
      expect(await rig.manager({ host: 'localhost', port: server.port, tls }).command('PING')).toBe('PONG');
    }
  });
});

describe("the client's certificate", () => {
  const good = { ca: () => pem('ca.crt') };
  const config = (tls: RedisTlsConfig) => ({ host: 'localhost', tls: { ca: good.ca(), ...tls } });

  it('may be of version 1, and its key may have a passphrase', async () => {
    const server = await serverWith('good');
    for (const tls of [
      { cert: pem('version1.crt'), key: pem('request.key') },
      { cert: pem('version1.crt'), key: Buffer.from(pem('encrypted.key')), passphrase: 'open sesame' },
    ]) {
      expect(await rig.manager({ ...config(tls), port: server.port }).command('PING')).toBe('PONG');
    }
  });

  it.each([
    [
      'the passphrase is missing',
      () => ({ key: pem('encrypted.key') }),
      'RedisConfig.tls.passphrase: expected the passphrase of tls.key, which is encrypted, got none',
    ],
    [
      'the passphrase is wrong',
      () => ({ key: pem('encrypted.key'), passphrase: 'open barley' }),
      'RedisConfig.tls.passphrase: expected the passphrase of tls.key, got one that does not open it',
    ],
    ["the key is encrypted in OpenSSL's old format", () => ({ key: pem('old.key'), passphrase: 'open sesame' }), 'openssl pkcs8 -topk8'],
    [
      'the key is of another certificate',
      () => ({ key: pem('self.key') }),
      'RedisConfig.tls.key: expected the private key of cert in PEM, got the key of another certificate',
    ],
  ])('is refused with what is wrong: %s', (_, tls, message) => {
    let error: unknown;
    try {
      rig.manager(config({ cert: pem('version1.crt'), ...tls() }));
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringContaining(message) });
    expect(String(error)).not.toContain('barley');
  });
});

describe('NODE_EXTRA_CA_CERTS', () => {
  it('names authorities besides the public ones, and a file that cannot be read is refused by its name', async () => {
    const server = await serverWith('good');
    const connect = (file: string) =>
      runProcess(
        async ({ redis, emit, args }) => {
          try {
            const manager = new redis.RedisConnectionManager({ host: 'localhost', port: args.port, tls: true });
            emit(await manager.command('PING'));
            await manager.disconnect();
          } catch (error) {
            emit(`${(error as import('redis-backplane').RedisError).redisErrorKind}: ${(error as Error).message}`);
          }
        },
        { args: { port: server.port }, env: { NODE_EXTRA_CA_CERTS: file } },
      );
    expect((await connect(path('ca.crt'))).lines).toEqual(['PONG']);
    expect((await connect(path('stranger.crt'))).lines).toEqual([expect.stringMatching(/^tls: /)]);
    expect((await connect(path('none.crt'))).lines).toEqual([expect.stringMatching(/^config: NODE_EXTRA_CA_CERTS: expected a file/)]);
  });
});
