/** A small npm registry in memory. It supports `npm publish`, `npm view` and `npm install`, and nothing else. */
import { createServer } from 'node:http';

/** @returns {Promise<{ url: string, names: () => string[], stop: () => void }>} */
export async function startRegistry() {
  /** @type {Map<string, { packument: any, tarballs: Map<string, Buffer> }>} */
  const packages = new Map();

  /** @param {any} document as npm puts it: the manifests of new versions, and their tarballs beside them */
  const publish = ({ name, versions, _attachments: attachments, ...rest }) => {
    const known = packages.get(name) ?? { packument: { name, versions: {}, 'dist-tags': {}, time: {} }, tarballs: new Map() };
    for (const version of Object.keys(versions)) {
      if (version in known.packument.versions) return false;
      known.packument.versions[version] = versions[version];
      known.packument.time[version] = new Date().toISOString();
    }
    Object.assign(known.packument['dist-tags'], rest['dist-tags']);
    for (const [file, { data }] of Object.entries(/** @type {Record<string, { data: string }>} */ (attachments))) {
      known.tarballs.set(file, Buffer.from(data, 'base64'));
    }
    packages.set(name, known);
    return true;
  };

  const server = createServer(async (request, response) => {
    const answer = (/** @type {number} */ status, /** @type {unknown} */ body) => {
      response.writeHead(status, { 'content-type': Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json' });
      response.end(Buffer.isBuffer(body) ? body : JSON.stringify(body));
    };
    const [name = '', ...rest] = new URL(request.url ?? '/', 'http://registry').pathname.slice(1).split('/').map(decodeURIComponent);
    if (request.method === 'PUT') {
      const parts = [];
      for await (const part of request) parts.push(part);
      const isNew = publish(JSON.parse(Buffer.concat(parts).toString('utf8')));
      return isNew ? answer(201, { ok: true }) : answer(403, { error: 'this version is published already' });
    }
    const found = packages.get(name);
    const body = rest[0] === '-' ? found?.tarballs.get(rest[1] ?? '') : found?.packument;
    return body === undefined ? answer(404, { error: 'not found' }) : answer(200, body);
  });
  await /** @type {Promise<void>} */ (new Promise((resolve) => server.listen(0, '127.0.0.1', resolve)));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the registry has no port');
  return {
    url: `http://127.0.0.1:${address.port}/`,
    names: () => [...packages.keys()].sort(),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
