//! Routes a request in a cluster.
//!
//! | request | goes to |
//! |---|---|
//! | a command with keys | the master of its first key's slot; the server answers `CROSSSLOT` for keys of several slots |
//! | `MGET MSET DEL UNLINK EXISTS TOUCH` over several slots | each slot's master, in parts: not atomic |
//! | `FLUSHALL FLUSHDB DBSIZE KEYS WAIT WAITAOF`, `CLIENT LIST`, `SCRIPT`/`FUNCTION`/`CONFIG` subcommands that concern every node | every master |
//! | `SCAN` | one master after the other; the cursor says which |
//! | another command without a key | one master, always the same while its connection lasts, so that the order holds |
//! | a script | the master of its keys, all of one slot |
//! | a transaction | the master of all of its commands' keys, all of one slot |
//! | several commands in one request | each command as above: not atomic |

use bytes::{Bytes, BytesMut};

use super::scan;
use super::slots::{SlotMap, slot_of};
use crate::connection::command::Command;
use crate::connection::request::Destination;
use crate::error::{Error, Result};
use crate::redis_commands::{self, Keys, Merge, Reach, keys_of};
use crate::resp;

/// A part of a request, with its own destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) destination: Destination,
    pub(super) payload: Bytes,
    /// The indexes of the part's elements in the whole request.
    pub(super) elements: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Route {
    Whole(Destination),
    Parts(Vec<Part>, Assembly),
}

/// How the answers of the parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assembly {
    /// An array of the answers; an error reply is one of them.
    Each,
    Merged(Merge),
    /// The answer of one master, with its cursor replaced by the cluster's cursor.
    Scanned(scan::Step),
}

/// The route of `command`.
///
/// # Errors
///
/// `config` for a script or a transaction whose keys are of several slots.
pub(super) fn route(command: &Command, map: &SlotMap) -> Result<Route> {
    let mut rest = &command.payload[..];
    let mut commands = Vec::with_capacity(1);
    while let Some((words, after)) = resp::unpack(rest) {
        commands.push((words, &rest[..rest.len() - after.len()]));
        rest = after;
    }
    match &commands[..] {
        [] => Ok(Route::Whole(Destination::Anywhere)),
        [(words, _)] if command.script.is_some() => one_slot("script", keys_of(words)).map(Route::Whole),
        [(words, _)] => Ok(route_one(words, map)),
        [(first, _), ..] if first[0].eq_ignore_ascii_case(b"MULTI") => {
            let keys = commands.iter().flat_map(|(words, _)| keys_of(words)).collect();
            one_slot("transaction", keys).map(Route::Whole)
        }
        several => {
            let parts = several.iter().enumerate().map(|(at, (words, packed))| Part {
                destination: first_key(words),
                payload: command.payload.slice_ref(packed),
                elements: vec![at],
            });
            Ok(Route::Parts(parts.collect(), Assembly::Each))
        }
    }
}

fn first_key(words: &[&[u8]]) -> Destination {
    keys_of(words).first().map_or(Destination::Anywhere, |key| Destination::Slot(slot_of(key)))
}

fn one_slot(what: &str, keys: Vec<&[u8]>) -> Result<Destination> {
    let mut slots = keys.into_iter().map(slot_of);
    let Some(slot) = slots.next() else { return Ok(Destination::Anywhere) };
    if slots.all(|other| other == slot) {
        return Ok(Destination::Slot(slot));
    }
    Err(Error::config(format!(
        "{what}: expected keys of one hash slot, because a cluster executes it on one node, got keys of several \
         (give them a common hash tag, as in {{tag}}a and {{tag}}b)"
    )))
}

fn route_one(words: &[&[u8]], map: &SlotMap) -> Route {
    let spec = redis_commands::find(words);
    match (spec.map_or(Reach::OneMaster, |spec| spec.reach), spec.map(|spec| spec.keys)) {
        (Reach::BySlot(merge), Some(Keys::Range(_, _, step)))
            if (words.len() - 1).is_multiple_of(usize::from(step)) =>
        {
            by_slot(words, usize::from(step), merge)
        }
        (Reach::OneMaster | Reach::BySlot(_), _) => Route::Whole(first_key(words)),
        (Reach::EveryMaster(merge), _) => every_master(words, map, merge),
        (Reach::InTurn, _) => scan(words, map),
    }
}

fn every_master(words: &[&[u8]], map: &SlotMap, merge: Merge) -> Route {
    let payload = pack(words);
    let everywhere = map.masters().iter().map(|master| Part {
        destination: Destination::Master(Box::new(master.clone())),
        payload: payload.clone(),
        elements: Vec::new(),
    });
    Route::Parts(everywhere.collect(), Assembly::Merged(merge))
}

/// Splits a command of keys, each with `step - 1` words behind it, by slot.
fn by_slot(words: &[&[u8]], step: usize, merge: Merge) -> Route {
    let mut groups: Vec<(u16, Vec<usize>)> = Vec::new();
    // A map by slot: a search in `groups` for each of thousands of keys would be quadratic.
    let mut known = std::collections::HashMap::new();
    for (at, key) in words[1..].iter().step_by(step).enumerate() {
        let slot = slot_of(key);
        let group = *known.entry(slot).or_insert_with(|| {
            groups.push((slot, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(at);
    }
    if groups.len() < 2 {
        return Route::Whole(groups.first().map_or(Destination::Anywhere, |(slot, _)| Destination::Slot(*slot)));
    }
    let parts = groups.into_iter().map(|(slot, elements)| {
        let mut part = Vec::with_capacity(1 + elements.len() * step);
        part.push(words[0]);
        for at in &elements {
            part.extend_from_slice(&words[1 + at * step..][..step]);
        }
        Part { destination: Destination::Slot(slot), payload: pack(&part), elements }
    });
    Route::Parts(parts.collect(), Assembly::Merged(merge))
}

fn scan(words: &[&[u8]], map: &SlotMap) -> Route {
    let cursor = words.get(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
    let Some((step, own)) = cursor.and_then(|cursor| scan::Step::at(cursor, &map.lowest_slots())) else {
        return Route::Whole(Destination::Anywhere);
    };
    let own = own.to_string();
    let mut part = words.to_vec();
    part[1] = own.as_bytes();
    let parts = vec![Part { destination: Destination::Slot(step.slot), payload: pack(&part), elements: Vec::new() }];
    Route::Parts(parts, Assembly::Scanned(step))
}

fn pack(words: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::with_capacity(words.iter().map(|word| word.len() + 16).sum());
    resp::pack(&mut out, words);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::script::Script;
    use crate::connection::target::Address;
    use crate::error::ErrorKind;
    use crate::resp::Reply;
    use crate::telemetry::Operation;
    use proptest::prelude::*;

    fn map() -> SlotMap {
        let range = |first, last, port| {
            let node = vec![Reply::Bulk("h".into()), Reply::Int(port)];
            Reply::Array(vec![Reply::Int(first), Reply::Int(last), Reply::Array(node)])
        };
        let asked = Address { host: "h".into(), port: 1 };
        SlotMap::read(&Reply::Array(vec![range(0, 8191, 1), range(8192, 16_383, 2)]), &asked).unwrap()
    }

    fn command(commands: &[&[&str]]) -> Command {
        let mut payload = BytesMut::new();
        for words in commands {
            resp::pack(&mut payload, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        }
        let replies = u32::try_from(commands.len()).unwrap();
        Command { replies, ..Command::raw(payload.freeze(), Operation::named("test")) }
    }

    fn whole(commands: &[&[&str]]) -> Destination {
        match route(&command(commands), &map()).unwrap() {
            Route::Whole(destination) => destination,
            Route::Parts(parts, _) => panic!("{parts:?}"),
        }
    }

    fn parts(words: &[&str]) -> (Vec<Part>, Assembly) {
        match route(&command(&[words]), &map()).unwrap() {
            Route::Parts(parts, assembly) => (parts, assembly),
            Route::Whole(destination) => panic!("{destination:?}"),
        }
    }

    #[test]
    fn a_command_goes_where_its_first_key_is() {
        assert_eq!(whole(&[&["GET", "foo"]]), Destination::Slot(12_182));
        assert_eq!(whole(&[&["MGET", "{foo}a", "{foo}b"]]), Destination::Slot(12_182));
        assert_eq!(whole(&[&["MSETNX", "foo", "1", "bar", "2"]]), Destination::Slot(12_182));
        assert_eq!(whole(&[&["MSET", "foo", "1", "bar"]]), Destination::Slot(12_182));
        assert_eq!(whole(&[&["PING"]]), Destination::Anywhere);
    }

    #[test]
    fn keys_of_several_slots_are_grouped_by_slot_with_their_indexes() {
        let (parts, assembly) = parts(&["mget", "foo", "bar", "{foo}2"]);
        assert_eq!(assembly, Assembly::Merged(Merge::Array));
        assert_eq!(parts[0].destination, Destination::Slot(12_182));
        assert_eq!(parts[0].elements, [0, 2]);
        assert_eq!(parts[0].payload, command(&[&["mget", "foo", "{foo}2"]]).payload);
        assert_eq!(parts[1].elements, [1]);
        let (parts, _) = self::parts(&["MSET", "foo", "1", "bar", "2"]);
        assert_eq!(parts[1].payload, command(&[&["MSET", "bar", "2"]]).payload);
    }

    #[test]
    fn a_transaction_or_script_over_several_slots_is_refused() {
        let transaction = |other| command(&[&["MULTI"], &["SET", "foo", "1"], &["SET", other, "1"], &["EXEC"]]);
        assert!(matches!(route(&transaction("{foo}2"), &map()).unwrap(), Route::Whole(Destination::Slot(12_182))));
        let error = route(&transaction("bar"), &map()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let mut script = command(&[&["EVALSHA", "sha", "2", "foo", "bar"]]);
        script.script = Some(Script::new("return 1"));
        assert_eq!(route(&script, &map()).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn several_commands_are_routed_one_by_one() {
        let Route::Parts(parts, Assembly::Each) = route(&command(&[&["GET", "foo"], &["PING"]]), &map()).unwrap()
        else {
            panic!("not in parts");
        };
        assert_eq!(parts[0].destination, Destination::Slot(12_182));
        assert_eq!(parts[1].destination, Destination::Anywhere);
        assert_eq!(parts[1].payload, command(&[&["PING"]]).payload);
    }

    #[test]
    fn a_scan_asks_one_master_with_the_masters_own_cursor() {
        let there = (77 * 16_384 + 8192).to_string();
        for (cursor, slot, own) in [("0", 0, "0"), (there.as_str(), 8192, "77")] {
            let (parts, assembly) = parts(&["SCAN", cursor, "COUNT", "5"]);
            assert_eq!(parts[0].destination, Destination::Slot(slot));
            assert_eq!(parts[0].payload, command(&[&["SCAN", own, "COUNT", "5"]]).payload);
            assert!(matches!(assembly, Assembly::Scanned(step) if step.slot == slot));
        }
        assert_eq!(whole(&[&["SCAN", "soon"]]), Destination::Anywhere);
    }

    #[test]
    fn a_command_that_concerns_every_node_goes_to_every_master() {
        for words in
            [&["FLUSHALL"][..], &["script", "flush"], &["DBSIZE"], &["CONFIG", "SET", "a", "b"], &["CLIENT", "list"]]
        {
            assert_eq!(parts(words).0.len(), 2, "{words:?}");
        }
        assert_eq!(whole(&[&["CONFIG", "GET", "a"]]), Destination::Anywhere);
    }

    proptest! {
        #[test]
        fn any_bytes_are_routed_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut any = command(&[]);
            any.payload = bytes.into();
            let _ = route(&any, &map());
        }
    }
}
