//! Compare-and-set. Stored bytes are compared first; if they differ, their meaning as JSON is compared.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{Kv, decode, load, scripts};
use crate::backoff::Backoff;
use crate::connection::Command;
use crate::connection::Packed;
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::json::same;
use crate::resp::Reply;
use crate::telemetry::{Metrics, Operation};
use crate::verb::Call;

/// How often a value may be rewritten in other bytes with the same meaning during one comparison.
const ROUNDS: u32 = 16;
/// The delays between the attempts of an `update`.
const UPDATE_BACKOFF: Backoff = Backoff { min: Duration::from_millis(1), max: Duration::from_millis(100) };

/// The expiry after the swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Keep,
    None,
    Millis(u64),
}

/// A comparison, and the write that follows if it succeeds.
struct Swap<'a> {
    expected: Option<&'a [u8]>,
    /// `None` deletes.
    next: Option<&'a [u8]>,
    expiry: Expiry,
}

impl Swap<'_> {
    fn pack(&self, kv: &Kv, key: &[u8], operation: Operation) -> Command {
        let size = self.expected.map_or(0, <[u8]>::len) + self.next.map_or(0, <[u8]>::len);
        let brief = match self.expiry {
            Expiry::Millis(ms) => load::is_brief(Some(ms)),
            Expiry::Keep | Expiry::None => false,
        };
        let mark = if self.next.is_none() || brief { kv.mark_of(key) } else { None };
        let packed = Packed::sized(2 * (kv.namespace.prefix().len() + key.len()) + size + 160)
            .script(&scripts::CAS, 1 + usize::from(mark.is_some()), 5)
            .key(&kv.namespace, key)
            .words(mark.as_deref())
            .word(if self.expected.is_some() { b"equal" } else { b"absent" })
            .word(self.expected.unwrap_or_default())
            .word(if self.next.is_some() { b"set" } else { b"delete" })
            .word(self.next.unwrap_or_default());
        match self.expiry {
            Expiry::Keep => packed.word(b"keep"),
            Expiry::None => packed.word(b"none"),
            Expiry::Millis(ms) => packed.number(ms),
        }
        .runs(operation, &scripts::CAS)
    }
}

/// Arguments: key, expected JSON or null, next JSON, ttlSec.
pub(super) fn cas(kv: &Kv, call: Call<'_>) {
    let read = || -> Result<_> {
        let expiry = call.ttl(3)?.map_or(Expiry::Keep, Expiry::Millis);
        Ok((call.key(0)?, call.text_or_null(1, "expected")?, call.text(2, "next")?, expiry))
    };
    let (key, expected, next, expiry) = match read() {
        Ok(read) => read,
        Err(error) => return call.give(Err(error)),
    };
    let Some(expected) = expected else {
        let swap = Swap { expected: None, next: Some(next), expiry };
        return call.send(&kv.manager, swapped, |call| Ok(swap.pack(kv, key, call.operation())));
    };
    let (key, next) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(next));
    let expected = Bytes::copy_from_slice(expected);
    let kv = kv.clone();
    call.run(|call| Ok(swap_by_meaning(kv, call.operation(), key, expected, next, expiry)));
}

async fn swap_by_meaning(
    kv: Kv,
    operation: Operation,
    key: Bytes,
    expected: Bytes,
    next: Bytes,
    expiry: Expiry,
) -> Result<Outcome> {
    let mut stored = expected.clone();
    for _ in 0..ROUNDS {
        let swap = Swap { expected: Some(&stored), next: Some(&next), expiry };
        match kv.manager.call(swap.pack(&kv, &key, operation)).await? {
            Reply::Int(done) => return Ok(Outcome::Bool(done == 1)),
            Reply::Bulk(other) if same_json(&other, &expected) => stored = other,
            Reply::Bulk(_) | Reply::Nil => return Ok(Outcome::Bool(false)),
            _ => return Err(Error::unexpected_reply()),
        }
    }
    Err(Error::new(
        ErrorKind::Timeout,
        format!("KVStore.cas: the value was rewritten {ROUNDS} times with the same meaning while it was compared"),
    ))
}

/// Arguments: key, number of the attempt; the first is 0. Waits before every attempt except the first, so that callers that
/// compete for the same value do not collide again.
pub(super) fn read(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let (key, attempt) = (call.key(0)?, call.id(1)?);
        let packed = Packed::sized(kv.namespace.prefix().len() + key.len()).begin(2, b"GET").key(&kv.namespace, key);
        let command = packed.reads(call.operation());
        Ok(async move {
            if let Some(attempt) = attempt.checked_sub(1) {
                tokio::time::sleep(UPDATE_BACKOFF.delay(u32::try_from(attempt).unwrap_or(u32::MAX))).await;
            }
            decode::raw(kv.manager.call(command).await?)
        })
    });
}

/// Arguments: key, expected text or null, next text or null; the expiry: absent to keep it, null for none, or seconds.
pub(super) fn cas_raw(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, swapped, |call| {
        let expiry = match call.at(3) {
            Arg::Null => Expiry::None,
            _ => call.ttl(3)?.map_or(Expiry::Keep, Expiry::Millis),
        };
        let (expected, next) = (call.text_or_null(1, "expected")?, call.text_or_null(2, "next")?);
        Ok(Swap { expected, next, expiry }.pack(kv, call.key(0)?, call.operation()))
    });
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a decoder")]
fn swapped(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Int(done) => Ok(Outcome::Bool(done == 1)),
        Reply::Bulk(_) | Reply::Nil => Ok(Outcome::Bool(false)),
        _ => Err(Error::unexpected_reply()),
    }
}

/// True if two stored texts mean the same value in JavaScript. A text that is not JSON means that string.
fn same_json(one: &[u8], other: &[u8]) -> bool {
    let meaning = |text: &[u8]| match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(_) => std::str::from_utf8(text).ok().map(|text| Value::String(text.to_owned())),
    };
    match (meaning(one), meaning(other)) {
        (Some(one), Some(other)) => same(&one, &other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec((".{0,3}", inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// The same value with its names in reverse order, and with spaces.
    fn rewritten(value: &Value) -> String {
        match value {
            Value::Object(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .rev()
                    .map(|(name, value)| format!(" {} : {}", Value::from(name.as_str()), rewritten(value)))
                    .collect();
                format!("{{{}}}", entries.join(" ,"))
            }
            Value::Array(items) => format!("[{} ]", items.iter().map(rewritten).collect::<Vec<_>>().join(", ")),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn a_value_with_another_order_of_names_and_spaces_is_the_same(value in json()) {
            prop_assert!(same_json(value.to_string().as_bytes(), rewritten(&value).as_bytes()));
        }

        #[test]
        fn numbers_are_the_same_in_any_notation_and_differ_from_their_neighbours(number in any::<f64>().prop_filter("a number", |number| number.is_finite())) {
            let (text, exact) = (format!("[{number:e}]"), format!("[{number:?}]"));
            prop_assert!(same_json(text.as_bytes(), exact.as_bytes()));
            for other in [number.next_up(), number.next_down()].into_iter().filter(|other| other.is_finite()) {
                let other = format!("[{other:?}]");
                prop_assert!(!same_json(exact.as_bytes(), other.as_bytes()));
            }
        }

        #[test]
        fn texts_mean_the_same_only_if_the_values_are_equal(one in json(), other in json()) {
            prop_assert_eq!(same_json(one.to_string().as_bytes(), other.to_string().as_bytes()), one == other);
        }
    }

    #[test]
    fn numbers_are_compared_as_in_javascript() {
        assert!(same_json(b"[1, 100]", b"[1.0,1e2]"));
        assert!(!same_json(b"54.02", b"54.019999999999996"));
        assert!(!same_json(b"1", b"\"1\""));
    }

    #[test]
    fn a_text_that_is_not_json_means_that_string() {
        assert!(same_json(b"plain", b"\"plain\""));
        assert!(!same_json(b"\xff", b"\xff\xfe"));
    }
}
