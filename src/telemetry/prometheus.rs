//! [`Snapshot`] in Prometheus' text format 0.0.4.

use std::fmt::Write;

use super::{HistogramSnapshot, Snapshot};

impl Snapshot {
    /// The snapshot as a page a Prometheus server can scrape; times are in milliseconds, as the names say.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut page = Page::default();
        let as_f64 = |n: u64| n as f64;
        page.counter(
            "redis_cache_hit_total",
            "cacheGet and getOrSet calls that found a value",
            as_f64(self.cache_hits),
        );
        page.counter(
            "redis_cache_miss_total",
            "cacheGet and getOrSet calls that found no value",
            as_f64(self.cache_misses),
        );
        self.connection(&mut page);
        self.bus(&mut page);
        self.queue(&mut page);
        self.sessions(&mut page);
        self.checkpoints(&mut page);
        page.gauge("redis_connection_pool_size", "open connections", self.connections as f64);
        page.gauge("redis_commands_pending", "commands accepted and not yet settled", self.pending_commands as f64);
        page.gauge("redis_pending_bytes", "bytes of commands accepted and not yet settled", self.pending_bytes as f64);
        page.gauge(
            "redis_concurrent_initialization_attempts",
            "the largest number of callers that shared one attempt to connect",
            self.concurrent_initialization_attempts as f64,
        );
        self.registry(&mut page);
        page.head(
            "redis_initialization_duration_ms",
            "the time from the start of an attempt to connect until the connection was usable or the attempt failed",
            "histogram",
        );
        page.histogram("redis_initialization_duration_ms", "", &self.initialization_ms);
        page.head("redis_operation_duration_ms", "the time from the call until its answer, by operation", "histogram");
        for (operation, histogram) in &self.operations {
            let label = format!("operation=\"{operation}\"");
            page.histogram("redis_operation_duration_ms", &label, histogram);
        }
        page.0
    }

    fn connection(&self, page: &mut Page) {
        let as_f64 = |n: u64| n as f64;
        page.counter(
            "redis_connection_errors_total",
            "failed attempts to connect, and lost connections",
            as_f64(self.connection_errors),
        );
        page.counter(
            "redis_reconnection_attempts_total",
            "attempts to restore a lost connection",
            as_f64(self.reconnection_attempts),
        );
        page.counter(
            "redis_topology_refreshes_total",
            "answers of sentinels and cluster nodes about the topology",
            as_f64(self.topology_refreshes),
        );
        page.counter(
            "redis_topology_changes_total",
            "changes of masters, slots or replicas of a cluster or under sentinels",
            as_f64(self.topology_changes),
        );
        page.counter(
            "redis_commands_rejected_total",
            "commands refused because too many commands or bytes were waiting",
            as_f64(self.rejected_commands),
        );
        page.counter(
            "redis_commands_timed_out_total",
            "commands whose deadline passed",
            as_f64(self.timed_out_commands),
        );
        page.counter(
            "redis_commands_failed_total",
            "commands answered with an error reply",
            as_f64(self.failed_commands),
        );
        page.counter(
            "redis_commands_resent_total",
            "commands that were sent again because it was safe",
            as_f64(self.resent_commands),
        );
        page.counter("redis_sent_bytes_total", "bytes written to the server", as_f64(self.sent_bytes));
        page.counter("redis_received_bytes_total", "bytes read from the server", as_f64(self.received_bytes));
    }

    fn bus(&self, page: &mut Page) {
        let as_f64 = |n: u64| n as f64;
        page.counter(
            "redis_bus_published_total",
            "messages that the server accepted, live and durable",
            as_f64(self.bus_published),
        );
        page.counter(
            "redis_bus_delivered_total",
            "messages given to handlers and iterators",
            as_f64(self.bus_delivered),
        );
        page.counter(
            "redis_bus_dropped_total",
            "live messages dropped because too many messages or bytes waited, or because the message was too long",
            as_f64(self.bus_dropped),
        );
        page.counter(
            "redis_bus_malformed_total",
            "messages that are not JSON, and damaged records of consumer groups in Redis",
            as_f64(self.bus_malformed),
        );
        page.counter(
            "redis_bus_restored_total",
            "durable messages that were delivered again after their records in Redis were lost",
            as_f64(self.bus_restored),
        );
        page.counter(
            "redis_bus_dead_letters_total",
            "durable messages that became dead letters with consumers of this process",
            as_f64(self.bus_dead_letters),
        );
        page.counter(
            "redis_bus_handler_errors_total",
            "handlers that threw or rejected",
            as_f64(self.bus_handler_errors),
        );
        page.counter("redis_bus_gaps_total", "times that a live subscription was interrupted", as_f64(self.bus_gaps));
        page.gauge(
            "redis_bus_subscriptions",
            "topics and patterns that are subscribed, and groups that are consumed",
            self.bus_subscriptions as f64,
        );
        page.head("redis_bus_lag", "messages that a consumer group has not acknowledged", "gauge");
        for (topic, groups) in &self.bus_lag {
            for (group, lag) in groups {
                let (topic, group) = (escaped(topic), escaped(group));
                let _ = writeln!(page.0, "redis_bus_lag{{topic=\"{topic}\",group=\"{group}\"}} {lag}");
            }
        }
    }

    fn registry(&self, page: &mut Page) {
        let as_f64 = |n: u64| n as f64;
        page.gauge(
            "redis_registry_workers",
            "workers of this process that are registered",
            self.registry_workers as f64,
        );
        page.counter(
            "redis_registry_heartbeats_total",
            "heartbeats of workers that the server has answered",
            as_f64(self.registry_heartbeats),
        );
        page.counter(
            "redis_registry_fenced_total",
            "registrations of this process that another process ended",
            as_f64(self.registry_fenced),
        );
        page.counter(
            "redis_registry_malformed_total",
            "damaged records of a registry that this process found",
            as_f64(self.registry_malformed),
        );
        page.counter(
            "redis_registry_event_loop_stalled_total",
            "times that the event loop was found stalled",
            as_f64(self.registry_stalled),
        );
        page.head(
            "redis_registry_event_loop_lag_ms",
            "the time from a ping to the event loop until its answer",
            "histogram",
        );
        page.histogram("redis_registry_event_loop_lag_ms", "", &self.registry_event_loop_lag_ms);
    }

    fn sessions(&self, page: &mut Page) {
        page.counter(
            "redis_session_degraded_total",
            "calls of a SessionStore that were answered without Redis",
            self.session_degraded as f64,
        );
        page.counter(
            "redis_session_conflicts_total",
            "writes of a SessionStore that were refused because the session had changed, was destroyed, or was lost",
            self.session_conflicts as f64,
        );
    }

    /// The task queue's part.
    fn queue(&self, page: &mut Page) {
        for (name, help, value) in [
            ("redis_queue_jobs_added_total", "jobs added, without jobs that existed already", self.queue_added),
            ("redis_queue_jobs_claimed_total", "jobs that this process' workers claimed", self.queue_claimed),
            ("redis_queue_jobs_completed_total", "jobs that this process' workers completed", self.queue_completed),
            ("redis_queue_attempts_failed_total", "attempts of this process' workers that failed", self.queue_failed),
            (
                "redis_queue_jobs_given_away_total",
                "jobs of dead workers that this process' workers gave to other workers",
                self.queue_given_away,
            ),
            (
                "redis_queue_damaged_total",
                "damaged records and keys of queues that this process' workers found",
                self.queue_damaged,
            ),
            (
                "redis_queue_leases_lost_total",
                "jobs whose lease was lost while this process' workers ran them",
                self.queue_leases_lost,
            ),
        ] {
            page.counter(name, help, value as f64);
        }
    }

    fn checkpoints(&self, page: &mut Page) {
        for (name, help, value) in [
            ("redis_checkpoint_saves_total", "checkpoints that were saved", self.checkpoint_saves),
            (
                "redis_checkpoint_conflicts_total",
                "saves of checkpoints that were refused because another writer had saved first",
                self.checkpoint_conflicts,
            ),
            (
                "redis_checkpoint_fenced_total",
                "writes to threads that were refused because another owner holds the thread",
                self.checkpoint_fenced,
            ),
            (
                "redis_checkpoint_resumed_total",
                "interrupted threads that this process took over",
                self.checkpoint_resumed,
            ),
            (
                "redis_checkpoint_bytes_total",
                "bytes of states and metadata of the checkpoints that were saved",
                self.checkpoint_bytes,
            ),
        ] {
            page.counter(name, help, value as f64);
        }
    }
}

/// A label's value, escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn histogram(&mut self, name: &str, label: &str, histogram: &HistogramSnapshot) {
        let comma = if label.is_empty() { "" } else { "," };
        for bucket in &histogram.buckets {
            let le = bucket.le.map_or_else(|| "+Inf".to_owned(), |le| le.to_string());
            let _ = writeln!(self.0, "{name}_bucket{{{label}{comma}le=\"{le}\"}} {}", bucket.count);
        }
        let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let _ = writeln!(self.0, "{name}_sum{braces} {}\n{name}_count{braces} {}", histogram.sum, histogram.count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Metrics, Operation};
    use std::time::Duration;

    #[test]
    fn the_page_has_every_metric_with_its_type() {
        let metrics = Metrics::default();
        metrics.cache_hits.add(3);
        metrics.operation_took(Operation::named("kv.get"), Duration::from_micros(300));
        let page = metrics.snapshot().prometheus();
        assert!(page.contains("# TYPE redis_cache_hit_total counter\nredis_cache_hit_total 3\n"), "{page}");
        assert!(page.contains("redis_operation_duration_ms_bucket{operation=\"kv.get\",le=\"0.5\"} 1\n"), "{page}");
        assert!(page.contains("redis_operation_duration_ms_count{operation=\"kv.get\"} 1\n"), "{page}");
        assert!(page.contains("redis_initialization_duration_ms_bucket{le=\"+Inf\"} 0\n"), "{page}");
    }
}
