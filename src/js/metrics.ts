/** The metrics of a manager. The names are the same as in Prometheus' text, and the help texts there say the same as the comments here. */

/** A histogram of durations in milliseconds. */
export interface HistogramSnapshot {
  /** The number of recorded durations. */
  count: number;
  /** The sum of the durations, in milliseconds. */
  sum: number;
  /** The number of durations of at most `le` milliseconds (`null`: no bound). Cumulative: a bucket includes the smaller buckets. */
  buckets: { le: number | null; count: number }[];
}

/** The metrics of a manager and of everything built on it, since its creation. */
export interface MetricsSnapshot {
  /** `cacheGet` and `getOrSet` calls that found a value. */
  redis_cache_hit_total: number;
  /** `cacheGet` and `getOrSet` calls that found no value. */
  redis_cache_miss_total: number;
  /** Failed attempts to connect, and lost connections. */
  redis_connection_errors_total: number;
  /** Attempts to restore a lost connection. */
  redis_reconnection_attempts_total: number;
  /** Answers of sentinels and cluster nodes about the topology. 0 on a single server. */
  redis_topology_refreshes_total: number;
  /** Changes of masters, slots or replicas of a cluster or under sentinels. 0 on a single server. */
  redis_topology_changes_total: number;
  /** Commands refused because too many commands or bytes were waiting (kind `overloaded`). */
  redis_commands_rejected_total: number;
  /** Commands whose deadline passed. */
  redis_commands_timed_out_total: number;
  /** Commands answered with an error reply. */
  redis_commands_failed_total: number;
  /** Commands that were sent again because it was safe. */
  redis_commands_resent_total: number;
  /** Bytes written to the server. */
  redis_sent_bytes_total: number;
  /** Bytes read from the server. */
  redis_received_bytes_total: number;
  /** Jobs added; jobs that existed already are not counted. */
  redis_queue_jobs_added_total: number;
  /** Jobs that this process' workers claimed. */
  redis_queue_jobs_claimed_total: number;
  /** Jobs that this process' workers completed. */
  redis_queue_jobs_completed_total: number;
  /** Attempts of this process' workers that failed. */
  redis_queue_attempts_failed_total: number;
  /** Jobs of dead workers that this process' workers gave to other workers. */
  redis_queue_jobs_given_away_total: number;
  /** Damaged records and keys of queues that this process' workers found. */
  redis_queue_damaged_total: number;
  /** Jobs whose lease was lost while this process' workers ran them. */
  redis_queue_leases_lost_total: number;
  /** Calls of a `SessionStore` that were answered without Redis (option `whenAway`). */
  redis_session_degraded_total: number;
  /** Writes of a `SessionStore` that were refused because the session had changed, was destroyed, or was lost. */
  redis_session_conflicts_total: number;
  /** Messages that the server accepted, live and durable. */
  redis_bus_published_total: number;
  /** Messages given to handlers and iterators. A message that two handlers got counts twice. */
  redis_bus_delivered_total: number;
  /** Live messages dropped because too many messages or bytes waited, or because the message was longer than `maxReplyBytes`. */
  redis_bus_dropped_total: number;
  /** Messages that are not JSON, and damaged records of consumer groups in Redis. */
  redis_bus_malformed_total: number;
  /** Durable messages that were delivered again after their records in Redis were lost. */
  redis_bus_restored_total: number;
  /** Durable messages that became dead letters with consumers of this process. */
  redis_bus_dead_letters_total: number;
  /** Handlers that threw or rejected. */
  redis_bus_handler_errors_total: number;
  /** Times that a live subscription was interrupted. */
  redis_bus_gaps_total: number;
  /** Topics and patterns that are subscribed, and groups that are consumed. */
  redis_bus_subscriptions: number;
  /**
   * Messages that a consumer group has not acknowledged, by durable topic and group, for the groups that this process consumes. Messages whose
   * handlers run are included. Updated every few seconds. Before Redis 7, and after entries were deleted, at most 1 000 unread messages are counted.
   */
  redis_bus_lag: Record<string, Record<string, number>>;
  /** Open connections. */
  redis_connection_pool_size: number;
  /** Commands accepted and not yet settled. */
  redis_commands_pending: number;
  /** Bytes of commands accepted and not yet settled. */
  redis_pending_bytes: number;
  /** The largest number of callers that shared one attempt to connect. */
  redis_concurrent_initialization_attempts: number;
  /** Workers of this process that are registered. */
  redis_registry_workers: number;
  /** Heartbeats of workers that the server has answered. */
  redis_registry_heartbeats_total: number;
  /** Registrations of this process that another process ended: the worker was declared crashed, forgotten, or registered elsewhere. */
  redis_registry_fenced_total: number;
  /** Damaged records of a registry that this process found (event `malformed`). */
  redis_registry_malformed_total: number;
  /** Times that the event loop was found stalled. */
  redis_registry_event_loop_stalled_total: number;
  /** Checkpoints that were saved. */
  redis_checkpoint_saves_total: number;
  /** Saves of checkpoints that were refused because another writer had saved first (kind `conflict`). */
  redis_checkpoint_conflicts_total: number;
  /** Writes to threads that were refused because another owner holds the thread (kind `lease-lost`). */
  redis_checkpoint_fenced_total: number;
  /** Interrupted threads that this process took over. */
  redis_checkpoint_resumed_total: number;
  /** Bytes of states and metadata of the checkpoints that were saved. */
  redis_checkpoint_bytes_total: number;
  /** The time from a ping to the event loop until its answer, while heartbeats are automatic. */
  redis_registry_event_loop_lag_ms: HistogramSnapshot;
  /** The time from the start of an attempt to connect until the connection was usable or the attempt failed. */
  redis_initialization_duration_ms: HistogramSnapshot;
  /** The time from the call until its answer, by operation: a command's name, or a name such as `kv.get`. */
  redis_operation_duration_ms: Record<string, HistogramSnapshot>;
}
