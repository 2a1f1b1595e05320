//! The keys of checkpoints: a few for each thread, and a few for each share of all threads.

use bytes::Bytes;

use super::parts::{join, parts};
use super::{Namespace, share};

/// How many shares the threads of a namespace are in. A share is of one slot of a cluster, so that its lists change in the same
/// script as its threads; with this many the masters of a cluster have about as much each.
pub const SHARES: u32 = 32;

parts! {
    /// What a key of a thread or of its share holds, in the order in which scripts take them: the first two and the last are the thread's.
    ///
    /// | key | Redis type | what |
    /// |---|---|---|
    /// | `state:<thread>` | hash | who owns the thread; its checkpoints, their values, pending writes |
    /// | `order:<thread>` | sorted set | its checkpoints by scope and id, and as they were saved; pending writes |
    /// | `due` | sorted set | owned threads of the share, by the end of their lease |
    /// | `threads` | sorted set | threads of the share, by when they expire |
    /// | `workers` | sorted set | threads of the share whose owner is a registered worker, by that |
    /// | `news:<thread>` | channel | says that the thread has a new checkpoint, or is free |
    Part {
        State = "state",
        Order = "order",
        Due = "due",
        Threads = "threads",
        Workers = "workers",
        News = "news",
    }
}

/// The keys of a thread, in the order of [`Part`]: all of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadKeys([Bytes; 6]);

impl ThreadKeys {
    pub(super) fn of(namespace: &Namespace, thread: &[u8]) -> Self {
        let own = [b":", thread].concat();
        let start = start_of(namespace, share(thread, SHARES));
        let key = |part: Part, rest: &[u8]| join(&start, part.text(), rest);
        Self([
            key(Part::State, &own),
            key(Part::Order, &own),
            key(Part::Due, b""),
            key(Part::Threads, b""),
            key(Part::Workers, b""),
            key(Part::News, &own),
        ])
    }

    #[must_use]
    pub fn key(&self, part: Part) -> &Bytes {
        &self.0[part as usize]
    }

    /// Every key, in order.
    #[must_use]
    pub fn all(&self) -> &[Bytes; 6] {
        &self.0
    }
}

/// The keys of a share of all threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareKeys {
    /// How the keys of all states of the share begin.
    pub states: Bytes,
    pub due: Bytes,
    pub threads: Bytes,
    pub workers: Bytes,
}

impl ShareKeys {
    pub(super) fn of(namespace: &Namespace, share: u32) -> Self {
        let start = start_of(namespace, share);
        let key = |part: Part| join(&start, part.text(), b"");
        Self {
            states: join(&start, Part::State.text(), b":"),
            due: key(Part::Due),
            threads: key(Part::Threads),
            workers: key(Part::Workers),
        }
    }
}

fn start_of(namespace: &Namespace, share: u32) -> Bytes {
    // A brace of the namespace opens the tag before, or closes it too early.
    let has_brace = namespace.0.iter().any(|byte| matches!(byte, b'{' | b'}'));
    let inner = if has_brace { &b""[..] } else { &namespace.0 };
    namespace.with(&[b"~checkpoints:{", inner, share.to_string().as_bytes(), b"}:"])
}

#[cfg(test)]
mod tests {
    use super::super::{hash_tag, is_ours};
    use super::*;

    #[test]
    fn all_keys_of_a_thread_and_of_its_share_are_of_one_slot_and_ours() {
        let mut shares = std::collections::HashSet::new();
        for namespace in ["", "app", "{app}", "a:{t}:b", "{a", "a}b", "}"] {
            let namespace = Namespace::NONE.join(namespace);
            for thread in ["plain", "user:{42}:name", "a b", "{x}{y}", "}", "{", "import:1", "import:2", "import:3"] {
                let keys = namespace.thread(thread.as_bytes());
                let tag = hash_tag(keys.key(Part::State)).to_vec();
                for key in keys.all() {
                    assert_eq!(hash_tag(key), tag, "{key:?}");
                    assert!(is_ours(key) && !namespace.is_of_kv(key), "{key:?}");
                }
                shares.insert((namespace.clone(), keys.key(Part::Due).clone()));
            }
        }
        assert!(shares.len() > 7 * 4, "{shares:?}");
    }

    #[test]
    fn a_share_has_the_lists_of_its_threads_and_their_states_begin_as_it_says() {
        let namespace = Namespace::NONE.join("app");
        let mut seen = std::collections::HashSet::new();
        for number in 0..2_000 {
            let thread = format!("thread-{number}");
            let keys = namespace.thread(thread.as_bytes());
            let of_share = (0..SHARES)
                .map(|share| namespace.threads(share))
                .find(|share| share.due == *keys.key(Part::Due))
                .unwrap();
            assert_eq!(*keys.key(Part::State), [&of_share.states[..], thread.as_bytes()].concat());
            assert_eq!((&of_share.threads, &of_share.workers), (keys.key(Part::Threads), keys.key(Part::Workers)));
            seen.insert(of_share.due);
        }
        assert_eq!(seen.len(), SHARES as usize, "every share has some of many threads");
    }

    #[test]
    fn threads_that_differ_in_their_last_digits_alone_are_spread_over_the_shares() {
        for prefix in ["t", "import:", "conversation-2026-11-28-"] {
            let mut threads = [0; SHARES as usize];
            for number in 0..1_000 {
                threads[share(format!("{prefix}{number}").as_bytes(), SHARES) as usize] += 1;
            }
            // On average 31.
            assert!(threads.iter().all(|count| (10..60).contains(count)), "{prefix} {threads:?}");
        }
    }
}
