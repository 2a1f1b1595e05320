import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createTestRedisConfig, RedisConnectionManager } from 'redis-backplane';
import { type Pay, Refunds } from '../src/refunds.js';

const config = createTestRedisConfig();
// Two processes, in one.
const one = new RedisConnectionManager(config);
const other = new RedisConnectionManager(config);
after(() => Promise.all([one.disconnect(), other.disconnect()]));

/** Pays, and tells what was paid. */
function payments(): { paid: string[]; pay: Pay } {
  const paid: string[] = [];
  const pay: Pay = async (order, amount) => {
    paid.push(`${order}: ${amount}`);
    return `receipt ${paid.length}`;
  };
  return { paid, pay };
}

test('a refund waits for its approval, which another process may be given', async () => {
  const { paid, pay } = payments();
  assert.deepEqual(await new Refunds(one, pay).request('a', 20), { status: 'waiting' });
  assert.deepEqual(paid, []);
  assert.deepEqual(await new Refunds(other, pay).answer('a', true), { status: 'paid', receipt: 'receipt 1' });
  assert.deepEqual(paid, ['a: 20']);
});

test('a refund that is refused is not paid', async () => {
  const { paid, pay } = payments();
  await new Refunds(one, pay).request('b', 20);
  assert.deepEqual(await new Refunds(other, pay).answer('b', false), { status: 'refused' });
  assert.deepEqual(paid, []);
});

test('ten who approve at once have it paid once', async () => {
  const { paid, pay } = payments();
  await new Refunds(one, pay).request('c', 20);
  const answers = await Promise.all(Array.from({ length: 10 }, (_, at) => new Refunds(at % 2 ? one : other, pay).answer('c', true)));
  assert.ok(answers.every(({ status, receipt }) => status === 'paid' && receipt === 'receipt 1'));
  assert.deepEqual(paid, ['c: 20']);
});

test('a payment that fails is made again with the next answer', async () => {
  const { paid, pay } = payments();
  const refunds = new Refunds(one, () => Promise.reject(new Error('the bank is closed')));
  await refunds.request('e', 20);
  await assert.rejects(refunds.answer('e', true), /the bank is closed/);
  assert.deepEqual(await new Refunds(other, pay).answer('e', true), { status: 'paid', receipt: 'receipt 1' });
  assert.deepEqual(paid, ['e: 20']);
});

test('a refund whose process is cut off while it pays is finished by another one', async () => {
  const { paid, pay } = payments();
  const cutOff = new RedisConnectionManager(config);
  const refunds = new Refunds(cutOff, () => cutOff.disconnect().then(() => Promise.reject(new Error('gone'))), 500);
  await refunds.request('d', 20);
  await assert.rejects(refunds.answer('d', true));
  const finished = new Refunds(other, pay);
  const resumer = finished.takeOver();
  await new Promise((resolve) => resumer.on('resumed', resolve));
  await resumer.close();
  assert.deepEqual(paid, ['d: 20']);
  assert.deepEqual(await finished.answer('d', true), { status: 'paid', receipt: 'receipt 1' });
});
