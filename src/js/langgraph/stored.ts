/**
 * What a checkpoint of LangGraph is in a store. Its first part, without a name, is the checkpoint without its channels, and the metadata. Each
 * channel is a part, whose version is that of the channel as JSON. The metadata that the store knows are those that a filter may ask for.
 */

import {
  type BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  maxChannelVersion,
  type PendingWrite,
  type SerializerProtocol,
  TASKS,
  WRITES_IDX_MAP,
} from '@langchain/langgraph-checkpoint';
import { RedisError } from 'redis-backplane';
import type { RawCheckpoint, RawCheckpoints, RawPart, RawWrite } from '../checkpoints/raw.js';
import { dump, load } from './values.js';

/** The format since which a checkpoint has the sends of its parent among its channels. */
const WITH_SENDS = 4;
/** Between the name of a channel and the path of the task that wrote it. */
const PATH_MARK = '\0';

/** The parts of a checkpoint. Of its channels those with a new version have a value. */
export async function partsOf(
  serde: SerializerProtocol,
  { channel_values: values, channel_versions: versions, ...rest }: Checkpoint,
  metadata: CheckpointMetadata,
  newVersions: ChannelVersions,
): Promise<RawPart[]> {
  const head = dump(serde, [rest, metadata]).then((value): RawPart => ({ name: '', version: '', value }));
  const channels = Object.entries(versions).map(async ([name, version]): Promise<RawPart> => {
    const isNew = Object.hasOwn(newVersions, name) && Object.hasOwn(values, name);
    return { name, version: JSON.stringify(version), value: isNew ? await dump(serde, values[name]) : null };
  });
  return Promise.all([head, ...channels]);
}

/** The metadata that a filter may ask for, as JSON. */
export function searchable(metadata: CheckpointMetadata): string {
  const isPlain = (value: unknown): boolean => value === null || ['string', 'number', 'boolean'].includes(typeof value);
  return JSON.stringify(Object.fromEntries(Object.entries(metadata).filter(([, value]) => isPlain(value))));
}

/** Is a checkpoint of no use without its parent, whose writes make the value of a channel? */
export function needsParent({ channel_values: values, channel_versions: versions }: Checkpoint, metadata: CheckpointMetadata): boolean {
  const counted = Object.keys(metadata.counters_since_delta_snapshot ?? {});
  return counted.some((channel) => Object.hasOwn(versions, channel) && !Object.hasOwn(values, channel));
}

/** The writes of a task, each at its place: LangGraph has places of their own for those that may be replaced. */
export function writesOf(serde: SerializerProtocol, writes: PendingWrite[], taskPath: string): Promise<RawWrite[]> {
  return Promise.all(
    writes.map(async ([channel, value], at): Promise<RawWrite> => {
      if (channel.includes(PATH_MARK)) {
        throw new RedisError('config', 'RedisSaver.putWrites: expected a channel without the character U+0000, got one with it');
      }
      const place = Object.hasOwn(WRITES_IDX_MAP, channel) ? WRITES_IDX_MAP[channel] : undefined;
      const name = taskPath === '' ? channel : channel + PATH_MARK + taskPath;
      return { place: place ?? at, name, value: await dump(serde, value) };
    }),
  );
}

/** A checkpoint as LangGraph is given it. */
export async function tupleOf(saver: BaseCheckpointSaver, raw: RawCheckpoints, found: RawCheckpoint): Promise<CheckpointTuple> {
  const { thread, scope, id, parent } = found.info;
  const [head, ...channels] = found.parts;
  const [loaded, values, pendingWrites] = await Promise.all([
    head?.value ? load(saver.serde, head.value) : undefined,
    Promise.all(channels.map(({ value }) => (value === null ? undefined : load(saver.serde, value)))),
    pendingOf(saver.serde, found),
  ]);
  if (!Array.isArray(loaded)) {
    throw new RedisError('serialization', `RedisSaver: thread ${thread}: expected checkpoints of LangGraph, got others`);
  }
  const [rest, metadata] = loaded as [Omit<Checkpoint, 'channel_values' | 'channel_versions'>, CheckpointMetadata];
  const checkpoint: Checkpoint = {
    ...rest,
    channel_values: Object.fromEntries(channels.flatMap(({ name, value }, at) => (value === null ? [] : [[name, values[at]]]))),
    channel_versions: Object.fromEntries(channels.map(({ name, version }) => [name, JSON.parse(version)])),
  };
  const config = (checkpoint_id: string): CheckpointTuple['config'] => ({
    configurable: { thread_id: thread, checkpoint_ns: scope, checkpoint_id },
  });
  if (parent === null) return { config: config(id), checkpoint, metadata, pendingWrites };
  if (checkpoint.v < WITH_SENDS) await addSends(saver, checkpoint, await raw.load(thread, scope, parent));
  return { config: config(id), checkpoint, metadata, pendingWrites, parentConfig: config(parent) };
}

/** What tasks have written: by the path of the task, then as the store gives them, by task and place. */
async function pendingOf(serde: SerializerProtocol, { pending }: RawCheckpoint): Promise<CheckpointPendingWrite[]> {
  const writes = await Promise.all(
    pending.map(async ({ task, name, value }) => {
      const [channel = '', path = ''] = name.split(PATH_MARK);
      const write: CheckpointPendingWrite = [task, channel, await load(serde, value)];
      return { path: Buffer.from(path), write };
    }),
  );
  return writes.sort((one, other) => one.path.compare(other.path)).map(({ write }) => write);
}

/** Has an old checkpoint have what its parent's tasks send, as its channel. */
async function addSends(saver: BaseCheckpointSaver, checkpoint: Checkpoint, parent: RawCheckpoint | null): Promise<void> {
  const writes = parent === null ? [] : await pendingOf(saver.serde, parent);
  const versions = Object.values(checkpoint.channel_versions);
  checkpoint.channel_values[TASKS] = writes.filter(([, channel]) => channel === TASKS).map(([, , value]) => value);
  checkpoint.channel_versions[TASKS] = versions.length > 0 ? maxChannelVersion(...versions) : saver.getNextVersion(undefined);
}
