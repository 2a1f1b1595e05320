/** The commands that install a program for the build or the tests, by system. */

/** @typedef {'redis-server' | 'cc' | 'cargo' | 'openssl' | 'llvm-profdata-19'} Program */

const LLVM = 'rustup component add llvm-tools';

/** @type {Record<Program, { debian: string, alpine: string, macos: string }>} */
const commands = {
  'redis-server': { debian: 'apt-get install -y redis-server', alpine: 'apk add redis', macos: 'brew install redis' },
  cc: { debian: 'apt-get install -y build-essential', alpine: 'apk add build-base', macos: 'xcode-select --install' },
  cargo: { debian: rustup(), alpine: rustup(), macos: rustup() },
  openssl: { debian: 'apt-get install -y openssl', alpine: 'apk add openssl', macos: 'brew install openssl' },
  'llvm-profdata-19': { debian: 'apt-get install -y llvm-19', alpine: LLVM, macos: LLVM },
};

function rustup() {
  return "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";
}

/**
 * The message for a missing program: what needs it, and one line to install it for each system.
 * @param {Program} program
 * @param {string} why
 */
export function installHint(program, why) {
  const { debian, alpine, macos } = commands[program];
  return [
    `${program} is not installed, and ${why}; install it with`,
    `  Debian, Ubuntu:  ${debian}`,
    `  Alpine:          ${alpine}`,
    `  macOS:           ${macos}`,
  ].join('\n');
}
