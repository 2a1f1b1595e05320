//! CONFIG: the names clients ask for. `maxmemory`, `requirepass` and the script time limit act; the others are remembered.

use std::collections::HashMap;
use std::time::Duration;

use super::{Args, Cx};
use crate::embedded::glob;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};

const DEFAULTS: &[(&str, &str)] = &[
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
pub(in crate::embedded) struct Config {
    /// Bytes; 0: no bound.
    pub(in crate::embedded) max_memory: u64,
    changed: HashMap<&'static str, String>,
}

impl Config {
    fn value(&self, name: &str, default: &str) -> String {
        if name == "maxmemory" {
            return self.max_memory.to_string();
        }
        self.changed.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    /// What a client has to give first.
    pub(in crate::embedded) fn password(&self) -> Option<&str> {
        self.changed.get("requirepass").map(String::as_str).filter(|password| !password.is_empty())
    }

    /// After how long a running script lets others ask for its end.
    pub(in crate::embedded) fn script_limit(&self) -> Duration {
        let set = self.changed.get("lua-time-limit").or(self.changed.get("busy-reply-threshold"));
        Duration::from_millis(set.and_then(|ms| ms.parse().ok()).unwrap_or(5000))
    }
}

pub(super) fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let asked =
        |name: &str| args[2..].iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
    let found = DEFAULTS.iter().filter(|(name, _)| asked(name));
    let pairs = found.flat_map(|(name, default)| [Reply::bulk(name), Reply::bulk(cx.core.config.value(name, default))]);
    Ok(Reply::Map(pairs.collect()))
}

/// `100mb` and its like.
fn memory(text: &str) -> Option<u64> {
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

pub(super) fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(Fault::SYNTAX);
    }
    let mut changes: Vec<(&'static str, String)> = Vec::new();
    for pair in args[2..].chunks(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let value = String::from_utf8_lossy(pair[1]).into_owned();
        let Some((known, _)) = DEFAULTS.iter().find(|(known, _)| *known == name) else {
            return Err(Fault::new(
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", c_text(pair[0]), b"'"].concat(),
            ));
        };
        let failed =
            |why: &str| Fault::new(format!("ERR CONFIG SET failed (possibly related to argument '{known}') - {why}"));
        if changes.iter().any(|(n, _)| n == known) {
            return Err(failed("duplicate parameter"));
        }
        if *known == "maxmemory" && memory(&value).is_none() {
            return Err(failed("argument must be a memory value"));
        }
        if matches!(*known, "databases" | "port" | "cluster-enabled") {
            return Err(failed("can't set immutable config"));
        }
        changes.push((known, value));
    }
    for (name, value) in changes {
        if name == "maxmemory" {
            cx.core.config.max_memory = memory(&value).unwrap_or(0);
        } else {
            cx.core.config.changed.insert(name, value);
        }
    }
    Ok(Reply::OK)
}

pub(super) fn resetstat(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    cx.core.stats = crate::embedded::state::Stats::default();
    Ok(Reply::OK)
}

pub(super) fn rewrite(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Err(Fault::of("ERR The server is running without a config file"))
}
