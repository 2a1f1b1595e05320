//! The embedded engine against a real `redis-server`: random commands on both, replies compared.
//!
//! - One client: sequences from templates that name every command (`generator`, `sequences`).
//! - Several clients: interleavings of pub/sub, waiting, WATCH and expiry (`interleavings`, `clients`).
//!
//! `EMBEDDED_SEED` (default: fixed), `EMBEDDED_SEQUENCES` (default 3000) and `EMBEDDED_INTERLEAVINGS` (default 1500)
//! choose what is run, `EMBEDDED_DIFFERENCES` (default 0) how many differences a thread collects before it stops. A
//! difference is shrunk to a minimal sequence and printed with the seed that found it. What may differ is listed in
//! `allowed::ALLOWED`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allowed;
mod generator;
mod picks;
mod scripts;
mod sequences;
mod sides;
mod value;

use generator::Generator;
use sequences::{Pair, shown, shrink};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Servers and threads that share the work: most of the time goes into waiting for timeouts.
const THREADS: u64 = 6;

/// What one seed was found to differ in, said so that it can be run again.
type Comparison = Box<dyn FnMut(u64) -> Option<String>>;

/// Compares `count` seeds, each thread with a comparison (and so a server) of its own.
fn compare(count: u64, start: fn(u64) -> Comparison) {
    let (seed, tolerated) = (number("EMBEDDED_SEED", 7), number("EMBEDDED_DIFFERENCES", 0));
    let work = move |thread: u64| {
        let mut comparison = start(thread);
        let seeds = (thread..count).step_by(usize::try_from(THREADS).unwrap()).map(|i| seed.wrapping_add(i));
        let found = seeds.filter_map(|seed| comparison(seed).map(|text| format!("seed {seed}:\n{text}")));
        found.take(usize::try_from(tolerated).unwrap() + 1).collect::<Vec<String>>()
    };
    let threads: Vec<_> = (0..THREADS).map(|thread| std::thread::spawn(move || work(thread))).collect();
    let found: Vec<String> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert!(found.is_empty(), "{} differences among {count}:\n{}", found.len(), found.join("\n"));
}

#[test]
fn random_sequences_are_answered_as_a_real_server_answers_them() {
    compare(number("EMBEDDED_SEQUENCES", 3000), |thread| {
        let pair = Pair::start(thread);
        Box::new(move |seed| {
            let units = Generator::sequence(seed);
            pair.difference(&units)?;
            let minimal = shrink(&units, |fewer| pair.difference(fewer).is_some());
            let (at, real, engine) = pair.difference(&minimal)?;
            let commands: Vec<String> = minimal.concat().iter().map(shown).collect();
            Some(format!("{}\nat {at}\n  redis:  {real}\n  engine: {engine}\n", commands.join("\n")))
        })
    });
}
