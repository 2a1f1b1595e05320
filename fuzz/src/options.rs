//! The options of every constructor, as the JSON that crosses. An error names the option and the expected value, and quotes no given
//! value. The first byte of an input chooses the constructor.
#![no_main]

mod common;

use common::{MANAGER, check_refusal, outlet};
use libfuzzer_sys::fuzz_target;
use redis_backplane::bullmq::ioredis_options;
use redis_backplane::bus::Bus;
use redis_backplane::connection::Config;
use redis_backplane::error::Result;
use redis_backplane::kv::Kv;
use redis_backplane::options::Options;
use redis_backplane::queue::{Queue, fuzzing as queue};
use redis_backplane::registry::Registry;

fuzz_target!(|input: &[u8]| {
    let Some((choice, json)) = input.split_first() else {
        return;
    };
    let json = &*String::from_utf8_lossy(json);
    let of = |owner: &str| Options::parse(owner, json);
    let (owner, read) = match choice % 8 {
        0 => ("RedisConfig", config(json)),
        1 => {
            ("MessageBus", of("MessageBus").and_then(|options| Bus::new(MANAGER.clone(), options, outlet())).map(drop))
        }
        2 => ("KVStore", of("KVStore").and_then(|options| Kv::new(MANAGER.clone(), options)).map(drop)),
        3 => (
            "WorkerRegistry",
            of("WorkerRegistry").and_then(|options| Registry::new(MANAGER.clone(), options, outlet())).map(drop),
        ),
        4 => {
            ("TaskQueue", of("TaskQueue").and_then(|options| Queue::new(MANAGER.clone(), options, outlet())).map(drop))
        }
        5 => ("JobOptions", queue::job_options(json)),
        6 => ("TaskQueue.worker", queue::worker_options(json)),
        _ => ("TaskQueue.schedule: when", queue::schedules::when(json, 1_767_225_600_000, None)),
    };
    if let Err(error) = read {
        check_refusal(&error, &[owner], json);
    }
});

/// The debug output of an accepted configuration shows no secret.
fn config(json: &str) -> Result<()> {
    let (config, _) = Config::parse(json)?;
    let shown = format!("{config:?}");
    let has_secret =
        serde_json::from_str::<serde_json::Value>(json).is_ok_and(|json| json["password"] == common::SECRET);
    let is_only_there = json.matches(common::SECRET).count() == 1;
    assert!(!has_secret || !is_only_there || !shown.contains(common::SECRET), "a password is shown: {shown}");
    let _ = ioredis_options(&config);
    Ok(())
}
