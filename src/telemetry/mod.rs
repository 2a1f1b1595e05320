//! Metrics: counters, gauges and histograms of one manager.
//!
//! An update is a relaxed atomic addition. No key, value or payload is ever recorded: operations are labelled by the names in
//! [`operation`]: the first 512 names, then `other`. The one exception is lag, which is labelled by the names of the topics and groups
//! that this process consumes.

mod histogram;
mod lag;
pub mod operation;
mod prometheus;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

pub use histogram::{Histogram, HistogramSnapshot};
pub use lag::{LagSnapshot, Lags};
pub use operation::Operation;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n` and gives the new value.
    pub fn add(&self, n: i64) -> i64 {
        self.0.fetch_add(n, Relaxed) + n
    }

    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Raises the gauge to `n` if it is lower.
    pub fn at_least(&self, n: i64) {
        self.0.fetch_max(n, Relaxed);
    }
}

/// All numbers of one manager.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Open connections, of every purpose.
    pub connections: Gauge,
    pub connection_errors: Counter,
    pub reconnection_attempts: Counter,
    /// Answers of sentinels and of a cluster's nodes about where the masters are.
    pub topology_refreshes: Counter,
    /// Changes of masters, slots or replicas.
    pub topology_changes: Counter,
    /// From the start of an attempt until the connection was usable, or the attempt had failed.
    pub initialization: Histogram,
    /// The most callers that ever waited for one connection attempt at once.
    pub concurrent_initialization_attempts: Gauge,
    pub pending_commands: Gauge,
    pub pending_bytes: Gauge,
    /// Commands refused because too much was waiting.
    pub rejected_commands: Counter,
    pub timed_out_commands: Counter,
    /// Commands answered with an error reply.
    pub failed_commands: Counter,
    /// Commands sent again after a lost connection, or because the server asked to try again.
    pub resent_commands: Counter,
    pub sent_bytes: Counter,
    pub received_bytes: Counter,
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    /// Messages that the server accepted.
    pub bus_published: Counter,
    /// Messages given to handlers and iterators. A message that two of them get counts twice.
    pub bus_delivered: Counter,
    /// Live messages dropped because too many waited, or because they were longer than a reply may be.
    pub bus_dropped: Counter,
    /// Messages that are not JSON, and damaged records of consumer groups.
    pub bus_malformed: Counter,
    /// Durable messages that were restored after their records in Redis were lost.
    pub bus_restored: Counter,
    /// Messages that became dead letters.
    pub bus_dead_letters: Counter,
    /// Handlers that threw or rejected.
    pub bus_handler_errors: Counter,
    /// Times that a live subscription was interrupted.
    pub bus_gaps: Counter,
    /// Topics and patterns that are subscribed, and groups that are consumed.
    pub bus_subscriptions: Gauge,
    /// Unacknowledged messages of the groups that this process consumes.
    pub bus_lag: Lags,
    /// Workers of this process that are registered.
    pub registry_workers: Gauge,
    pub registry_heartbeats: Counter,
    /// Registrations of this process that others ended.
    pub registry_fenced: Counter,
    /// Damaged records of a registry.
    pub registry_malformed: Counter,
    /// Times that the event loop was found stalled.
    pub registry_stalled: Counter,
    /// From a ping to the event loop until its answer.
    pub registry_event_loop_lag: Histogram,
    /// Jobs that were added; a job that existed already does not count.
    pub queue_added: Counter,
    /// Jobs that this process' workers claimed.
    pub queue_claimed: Counter,
    pub queue_completed: Counter,
    /// Attempts that failed.
    pub queue_failed: Counter,
    /// Jobs of dead workers that were given to others.
    pub queue_given_away: Counter,
    /// Damaged records and keys of queues that this process' workers found.
    pub queue_damaged: Counter,
    /// Jobs whose lease was lost while a worker had them.
    pub queue_leases_lost: Counter,
    /// Calls about sessions that were answered without Redis.
    pub session_degraded: Counter,
    /// Writes of sessions that were refused because another caller had written first.
    pub session_conflicts: Counter,
    /// Checkpoints that were saved.
    pub checkpoint_saves: Counter,
    /// Saves that were refused because another caller had saved first.
    pub checkpoint_conflicts: Counter,
    /// Writes that were refused because another owner has the thread.
    pub checkpoint_fenced: Counter,
    /// Interrupted threads that this process took over.
    pub checkpoint_resumed: Counter,
    /// Bytes of states and metadata that were saved.
    pub checkpoint_bytes: Counter,
    operations: operation::Table,
}

impl Metrics {
    /// One operation was settled after `took`.
    pub fn operation_took(&self, operation: Operation, took: Duration) {
        self.operations.of(operation).record(took);
    }

    /// Everything as it is now. Numbers are read one after another, not at one instant.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            connections: self.connections.get(),
            connection_errors: self.connection_errors.get(),
            reconnection_attempts: self.reconnection_attempts.get(),
            topology_refreshes: self.topology_refreshes.get(),
            topology_changes: self.topology_changes.get(),
            initialization_ms: self.initialization.snapshot(),
            concurrent_initialization_attempts: self.concurrent_initialization_attempts.get(),
            pending_commands: self.pending_commands.get(),
            pending_bytes: self.pending_bytes.get(),
            rejected_commands: self.rejected_commands.get(),
            timed_out_commands: self.timed_out_commands.get(),
            failed_commands: self.failed_commands.get(),
            resent_commands: self.resent_commands.get(),
            sent_bytes: self.sent_bytes.get(),
            received_bytes: self.received_bytes.get(),
            cache_hits: self.cache_hits.get(),
            cache_misses: self.cache_misses.get(),
            bus_published: self.bus_published.get(),
            bus_delivered: self.bus_delivered.get(),
            bus_dropped: self.bus_dropped.get(),
            bus_malformed: self.bus_malformed.get(),
            bus_restored: self.bus_restored.get(),
            bus_dead_letters: self.bus_dead_letters.get(),
            bus_handler_errors: self.bus_handler_errors.get(),
            bus_gaps: self.bus_gaps.get(),
            bus_subscriptions: self.bus_subscriptions.get(),
            bus_lag: self.bus_lag.snapshot(),
            registry_workers: self.registry_workers.get(),
            registry_heartbeats: self.registry_heartbeats.get(),
            registry_fenced: self.registry_fenced.get(),
            registry_malformed: self.registry_malformed.get(),
            registry_stalled: self.registry_stalled.get(),
            registry_event_loop_lag_ms: self.registry_event_loop_lag.snapshot(),
            queue_added: self.queue_added.get(),
            queue_claimed: self.queue_claimed.get(),
            queue_completed: self.queue_completed.get(),
            queue_failed: self.queue_failed.get(),
            queue_given_away: self.queue_given_away.get(),
            queue_damaged: self.queue_damaged.get(),
            queue_leases_lost: self.queue_leases_lost.get(),
            session_degraded: self.session_degraded.get(),
            session_conflicts: self.session_conflicts.get(),
            checkpoint_saves: self.checkpoint_saves.get(),
            checkpoint_conflicts: self.checkpoint_conflicts.get(),
            checkpoint_fenced: self.checkpoint_fenced.get(),
            checkpoint_resumed: self.checkpoint_resumed.get(),
            checkpoint_bytes: self.checkpoint_bytes.get(),
            operations: self
                .operations
                .recorded()
                .map(|(operation, histogram)| (operation.name(), histogram.snapshot()))
                .collect(),
        }
    }
}

/// [`Metrics`] at a point in time. A metric has one name, here and in Prometheus' text.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    #[serde(rename = "redis_cache_hit_total")]
    pub cache_hits: u64,
    #[serde(rename = "redis_cache_miss_total")]
    pub cache_misses: u64,
    #[serde(rename = "redis_bus_published_total")]
    pub bus_published: u64,
    #[serde(rename = "redis_bus_delivered_total")]
    pub bus_delivered: u64,
    #[serde(rename = "redis_bus_dropped_total")]
    pub bus_dropped: u64,
    #[serde(rename = "redis_bus_malformed_total")]
    pub bus_malformed: u64,
    #[serde(rename = "redis_bus_restored_total")]
    pub bus_restored: u64,
    #[serde(rename = "redis_bus_dead_letters_total")]
    pub bus_dead_letters: u64,
    #[serde(rename = "redis_bus_handler_errors_total")]
    pub bus_handler_errors: u64,
    #[serde(rename = "redis_bus_gaps_total")]
    pub bus_gaps: u64,
    #[serde(rename = "redis_bus_subscriptions")]
    pub bus_subscriptions: i64,
    /// By topic and group.
    #[serde(rename = "redis_bus_lag")]
    pub bus_lag: LagSnapshot,
    #[serde(rename = "redis_connection_errors_total")]
    pub connection_errors: u64,
    #[serde(rename = "redis_reconnection_attempts_total")]
    pub reconnection_attempts: u64,
    #[serde(rename = "redis_topology_refreshes_total")]
    pub topology_refreshes: u64,
    #[serde(rename = "redis_topology_changes_total")]
    pub topology_changes: u64,
    #[serde(rename = "redis_commands_rejected_total")]
    pub rejected_commands: u64,
    #[serde(rename = "redis_commands_timed_out_total")]
    pub timed_out_commands: u64,
    #[serde(rename = "redis_commands_failed_total")]
    pub failed_commands: u64,
    #[serde(rename = "redis_commands_resent_total")]
    pub resent_commands: u64,
    #[serde(rename = "redis_sent_bytes_total")]
    pub sent_bytes: u64,
    #[serde(rename = "redis_received_bytes_total")]
    pub received_bytes: u64,
    #[serde(rename = "redis_connection_pool_size")]
    pub connections: i64,
    #[serde(rename = "redis_commands_pending")]
    pub pending_commands: i64,
    #[serde(rename = "redis_pending_bytes")]
    pub pending_bytes: i64,
    #[serde(rename = "redis_concurrent_initialization_attempts")]
    pub concurrent_initialization_attempts: i64,
    #[serde(rename = "redis_registry_workers")]
    pub registry_workers: i64,
    #[serde(rename = "redis_registry_heartbeats_total")]
    pub registry_heartbeats: u64,
    #[serde(rename = "redis_registry_fenced_total")]
    pub registry_fenced: u64,
    #[serde(rename = "redis_registry_malformed_total")]
    pub registry_malformed: u64,
    #[serde(rename = "redis_registry_event_loop_stalled_total")]
    pub registry_stalled: u64,
    #[serde(rename = "redis_registry_event_loop_lag_ms")]
    pub registry_event_loop_lag_ms: HistogramSnapshot,
    #[serde(rename = "redis_initialization_duration_ms")]
    pub initialization_ms: HistogramSnapshot,
    #[serde(rename = "redis_queue_jobs_added_total")]
    pub queue_added: u64,
    #[serde(rename = "redis_queue_jobs_claimed_total")]
    pub queue_claimed: u64,
    #[serde(rename = "redis_queue_jobs_completed_total")]
    pub queue_completed: u64,
    #[serde(rename = "redis_queue_attempts_failed_total")]
    pub queue_failed: u64,
    #[serde(rename = "redis_queue_jobs_given_away_total")]
    pub queue_given_away: u64,
    #[serde(rename = "redis_queue_damaged_total")]
    pub queue_damaged: u64,
    #[serde(rename = "redis_queue_leases_lost_total")]
    pub queue_leases_lost: u64,
    #[serde(rename = "redis_session_degraded_total")]
    pub session_degraded: u64,
    #[serde(rename = "redis_session_conflicts_total")]
    pub session_conflicts: u64,
    #[serde(rename = "redis_checkpoint_saves_total")]
    pub checkpoint_saves: u64,
    #[serde(rename = "redis_checkpoint_conflicts_total")]
    pub checkpoint_conflicts: u64,
    #[serde(rename = "redis_checkpoint_fenced_total")]
    pub checkpoint_fenced: u64,
    #[serde(rename = "redis_checkpoint_resumed_total")]
    pub checkpoint_resumed: u64,
    #[serde(rename = "redis_checkpoint_bytes_total")]
    pub checkpoint_bytes: u64,
    /// By operation.
    #[serde(rename = "redis_operation_duration_ms")]
    pub operations: BTreeMap<&'static str, HistogramSnapshot>,
}
