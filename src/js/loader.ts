/** Finds the native binary and loads it. */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute, join } from 'node:path';
import { isMusl } from './libc.js';
import { checkWhole, fileOf, ownFolder, PLATFORMS, type Platform, whyNotFound, whyNotLoaded } from './loader-errors.js';

/** The name of this process' platform, even if there is no binary for it. */
function platformName(): string {
  const { platform, arch } = process;
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  return `${platform}-${arch}`;
}

/**
 * Loads the native binary and returns its exports. The binary is the file that `REDIS_BACKPLANE_BINARY` names; if the variable is not set, a file
 * beside this code (from a local build, or beside a bundle or a single executable); if there is none, the file of the package for this platform.
 *
 * @throws Error that says what is wrong and what to do about it.
 */
export function loadBinary(): unknown {
  const given = process.env.REDIS_BACKPLANE_BINARY;
  if (given) return loadGiven(given);
  const platform = platformName();
  const known = PLATFORMS.find((name) => name === platform);
  if (known === undefined) {
    throw new Error(`redis-backplane has no native binary for ${platform}; there is one for each of ${PLATFORMS.join(', ')}`);
  }
  const beside = join(ownFolder(), `redis-backplane.${known}.node`);
  return existsSync(beside) ? loadFile(beside) : loadPackage(known);
}

function loadGiven(file: string): unknown {
  if (!isAbsolute(file) || !existsSync(file)) {
    throw new Error(
      `REDIS_BACKPLANE_BINARY: expected the absolute path of redis-backplane's native binary, got ${JSON.stringify(file)}${isAbsolute(file) ? ', where no file is' : ''}`,
    );
  }
  return loadFile(file);
}

function loadFile(file: string): unknown {
  checkWhole(file);
  try {
    // `createRequire`, because a single executable, and a bundle that is an ES module, have no `require` for files.
    return createRequire(file)(file);
  } catch (cause) {
    throw new Error(whyNotLoaded(file, cause), { cause });
  }
}

/**
 * Each package has its own `require` with a literal name, inside the `try`. So file tracers and bundlers find the installed package, and treat the
 * packages that are not installed as optional.
 */
function loadPackage(platform: Platform): unknown {
  const file = fileOf(platform);
  if (file !== undefined) checkWhole(file);
  try {
    switch (platform) {
      case 'darwin-arm64':
        return require('redis-backplane-darwin-arm64');
      case 'darwin-x64':
        return require('redis-backplane-darwin-x64');
      case 'linux-arm64-gnu':
        return require('redis-backplane-linux-arm64-gnu');
      case 'linux-arm64-musl':
        return require('redis-backplane-linux-arm64-musl');
      case 'linux-x64-gnu':
        return require('redis-backplane-linux-x64-gnu');
      case 'linux-x64-musl':
        return require('redis-backplane-linux-x64-musl');
      case 'win32-arm64-msvc':
        return require('redis-backplane-win32-arm64-msvc');
      case 'win32-x64-msvc':
        return require('redis-backplane-win32-x64-msvc');
    }
  } catch (cause) {
    throw new Error(whyNotFound(platform, cause), { cause });
  }
}
