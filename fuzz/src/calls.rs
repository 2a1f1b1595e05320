//! The arguments of every call. Bad arguments are refused by name and never quoted; every call is answered.
//!
//! The calls reach no server, because their manager is closed. The first two bytes of an input choose the call. The other bytes are its
//! arguments as JSON: `{"$":"…"}` is a value that JSON has no form for, an array is bytes.
#![no_main]

mod common;

use std::sync::LazyLock;
use std::time::Duration;

use common::{MANAGER, answer, check_refusal, outlet};
use libfuzzer_sys::fuzz_target;
use redis_backplane::bus::Bus;
use redis_backplane::crossing::{Answer, Arg, batch};
use redis_backplane::error::ErrorKind;
use redis_backplane::kv::Kv;
use redis_backplane::lifecycle;
use redis_backplane::options::Options;
use redis_backplane::queue::Queue;
use redis_backplane::registry::Registry;
use redis_backplane::verb::Class;
use serde_json::Value;

struct World {
    bus: Bus,
    kv: Kv,
    queue: Queue,
    registry: Registry,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let options = |owner: &str, json: &str| Options::parse(owner, json).expect("options");
    lifecycle::io().block_on(MANAGER.disconnect());
    World {
        bus: Bus::new(MANAGER.clone(), options("MessageBus", "{}"), outlet()).expect("a bus"),
        kv: Kv::new(MANAGER.clone(), options("KVStore", "{}")).expect("a store"),
        queue: Queue::new(MANAGER.clone(), options("TaskQueue", r#"{"name":"q"}"#), outlet()).expect("a queue"),
        registry: Registry::new(MANAGER.clone(), options("WorkerRegistry", "{}"), outlet()).expect("a registry"),
    }
});

/// Calls that wait for a time, or last until another call ends them.
const LASTING: [&str; 8] = [
    "bus.wait",
    "kv.wait",
    "kv.lock",
    "queue.wait",
    "registry.elect",
    "registry.watch",
    "queue.listen",
    "queue.addAndWait",
];

/// For calls with each of these prefixes: the start of their refusals.
const OWNERS: [(&str, &[&str]); 4] = [
    ("bus.", &["MessageBus", "DeadLetters"]),
    ("kv.", &["KVStore", "Lock", "deduplicateEvent", "once"]),
    ("queue.", &["TaskQueue", "Job", "JobOptions"]),
    ("registry.", &["WorkerRegistry", "WorkerClaim", "Leadership"]),
];

fn arg<'a>(value: &'a Value, bytes: &'a mut Vec<u8>) -> Arg<'a> {
    match value {
        Value::Null => Arg::Null,
        Value::Bool(flag) => Arg::Bool(*flag),
        Value::Number(number) => Arg::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Arg::Text(text),
        Value::Array(items) => {
            bytes.extend(items.iter().map(|item| item.as_u64().unwrap_or(0) as u8));
            Arg::Bytes(bytes)
        }
        Value::Object(fields) => match fields.get("$").and_then(Value::as_str) {
            Some("nan") => Arg::Number(f64::NAN),
            Some("infinity") => Arg::Number(f64::INFINITY),
            Some(what) => Arg::Other(what),
            None => Arg::Absent,
        },
    }
}

/// Calls the verb at this place of its class, unless the call lasts.
fn call_of<T: Class>(at: usize, target: &T, args: &[Arg<'_>], answer: Answer) -> Option<&'static str> {
    let verb = &T::VERBS[at];
    if LASTING.contains(&verb.name) {
        return None;
    }
    batch(|| verb.call(target, args, answer));
    Some(verb.name)
}

fn call(number: usize, args: &[Arg<'_>], answer: Answer) -> Option<&'static str> {
    let world = &*WORLD;
    let (bus, kv, queue) = (Bus::VERBS.len(), Kv::VERBS.len(), Queue::VERBS.len());
    let at = number % (bus + kv + queue + Registry::VERBS.len());
    if at < bus {
        call_of(at, &world.bus, args, answer)
    } else if at < bus + kv {
        call_of(at - bus, &world.kv, args, answer)
    } else if at < bus + kv + queue {
        call_of(at - bus - kv, &world.queue, args, answer)
    } else {
        call_of(at - bus - kv - queue, &world.registry, args, answer)
    }
}

fuzz_target!(|input: &[u8]| {
    let [high, low, json @ ..] = input else {
        return;
    };
    let Ok(Value::Array(values)) = serde_json::from_slice(json) else {
        return;
    };
    let mut bytes = vec![Vec::new(); values.len()];
    let args: Vec<Arg<'_>> = values.iter().zip(&mut bytes).map(|(value, bytes)| arg(value, bytes)).collect();
    let (answer, answers) = answer();
    let Some(name) = call(usize::from(*high) << 8 | usize::from(*low), &args, answer) else { return };
    let outcome = answers.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("{name} is never answered"));
    assert!(answers.try_recv().is_err(), "{name} is answered once");
    match outcome {
        Err(error) if error.kind() == ErrorKind::Config => {
            let owners = OWNERS.iter().find(|(begin, _)| name.starts_with(begin)).map_or(&[][..], |(_, owners)| owners);
            check_refusal(&error, owners, &String::from_utf8_lossy(json));
        }
        Err(error) => assert!(!error.to_string().contains(common::SECRET), "{name}: {error}"),
        Ok(_) => {}
    }
});
