//! Replies in the shapes of RESP2.

use crate::crossing::Outcome;
use crate::error::Result;
use crate::resp::Reply;
use crate::telemetry::Metrics;

/// A reply in the shape of RESP2.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a decoder")]
pub(super) fn resp2(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    Ok(Outcome::Reply(flat(reply)))
}

/// Maps become arrays of keys and values in turn, doubles become text, booleans numbers, and sets arrays.
pub(super) fn flat(reply: Reply) -> Reply {
    match reply {
        Reply::Map(pairs) => Reply::Array(pairs.into_iter().flat_map(|(k, v)| [flat(k), flat(v)]).collect()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            Reply::Array(items.into_iter().map(flat).collect())
        }
        Reply::Double(number) => Reply::Bulk(number.to_string().into()),
        Reply::Bool(flag) => Reply::Int(flag.into()),
        Reply::BigNumber(digits) => Reply::Bulk(digits),
        same @ (Reply::Nil | Reply::Int(_) | Reply::Bulk(_) | Reply::Simple(_) | Reply::Error(_)) => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_resp3_become_types_of_resp2() {
        let bulk = |text: &'static str| Reply::Bulk(text.into());
        let map = Reply::Map(vec![(bulk("a"), Reply::Double(2.0)), (bulk("b"), Reply::Set(vec![Reply::Bool(true)]))]);
        assert_eq!(flat(map), Reply::Array(vec![bulk("a"), bulk("2"), bulk("b"), Reply::Array(vec![Reply::Int(1)])]));
        assert_eq!(flat(Reply::Double(f64::NEG_INFINITY)), bulk("-inf"));
        assert_eq!(flat(Reply::Nil), Reply::Nil);
    }
}
