//! The settings of an engine. Only `maxmemory`, `requirepass` and the script time limit have an effect; the others are only
//! stored.

use std::collections::HashMap;
use std::time::Duration;

/// The parameters, and their initial values.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("activedefrag", "no"),
    ("appendfsync", "everysec"),
    ("appendonly", "no"),
    ("bind", "* -::*"),
    ("busy-reply-threshold", "5000"),
    ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
    ("client-query-buffer-limit", "1073741824"),
    ("cluster-enabled", "no"),
    ("databases", "16"),
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hz", "10"),
    ("latency-monitor-threshold", "0"),
    ("lfu-decay-time", "1"),
    ("lfu-log-factor", "10"),
    ("list-max-listpack-size", "-2"),
    ("loglevel", "notice"),
    ("lua-time-limit", "5000"),
    ("maxclients", "10000"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("notify-keyspace-events", ""),
    ("port", "0"),
    ("proto-max-bulk-len", "536870912"),
    ("requirepass", ""),
    ("save", ""),
    ("set-max-intset-entries", "512"),
    ("slowlog-log-slower-than", "10000"),
    ("slowlog-max-len", "128"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("tcp-keepalive", "300"),
    ("timeout", "0"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
];

#[derive(Debug, Default)]
pub(super) struct Config {
    /// Bytes; 0: no limit.
    pub(super) max_memory: u64,
    changed: HashMap<&'static str, String>,
}

impl Config {
    pub(super) fn value(&self, name: &str, default: &str) -> String {
        if name == "maxmemory" {
            return self.max_memory.to_string();
        }
        self.changed.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    /// The password that a client must give first.
    pub(super) fn password(&self) -> Option<&str> {
        self.changed.get("requirepass").map(String::as_str).filter(|password| !password.is_empty())
    }

    /// How long a script may run before other clients are answered and may kill it.
    pub(super) fn script_limit(&self) -> Duration {
        let set = self.changed.get("lua-time-limit").or(self.changed.get("busy-reply-threshold"));
        Duration::from_millis(set.and_then(|ms| ms.parse().ok()).unwrap_or(5000))
    }

    /// Stores a value that has been checked.
    pub(super) fn set(&mut self, name: &'static str, value: String) {
        if name == "maxmemory" {
            self.max_memory = memory(&value).unwrap_or(0);
        } else {
            self.changed.insert(name, value);
        }
    }
}

/// Reads a size such as `100mb`.
pub(super) fn memory(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
