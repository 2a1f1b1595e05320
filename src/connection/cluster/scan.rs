//! A `SCAN` over a cluster: one master after another. The cursor says which master is next.

use super::slot_set::SLOTS;
use crate::resp::Reply;

/// The number of low bits in a cluster's cursor that name the master by its lowest slot. The master's own cursor is in the bits above.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// One step: the master that is asked, and the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The lowest slot of the master that is asked.
    pub(super) slot: u16,
    /// The lowest slot of the next master.
    next: Option<u16>,
}

impl Step {
    /// The step at `cursor`, and the master's own cursor. `masters` are the lowest slots of all masters, in order.
    pub(super) fn at(cursor: u64, masters: &[u16]) -> Option<(Self, u64)> {
        let first = masters.first()?;
        #[expect(clippy::cast_possible_truncation, reason = "a number below SLOTS")]
        let slot = if cursor == 0 { *first } else { (cursor % u64::from(SLOTS)) as u16 };
        let next = masters.iter().copied().find(|lowest| *lowest > slot);
        Some((Self { slot, next }, cursor >> SLOT_BITS))
    }

    /// The master's answer, with the cursor of the cluster in place of its own.
    pub(super) fn answer(self, reply: Reply) -> Option<Reply> {
        let Reply::Array(parts) = reply else { return None };
        let [Reply::Bulk(cursor), found] = <[Reply; 2]>::try_from(parts).ok()? else { return None };
        let cursor = match (std::str::from_utf8(&cursor).ok()?.parse().ok()?, self.next) {
            (0, None) => 0,
            (0, Some(next)) => u64::from(next),
            (own, _) => cursor_at(self.slot, own)?,
        };
        Some(Reply::Array(vec![Reply::Bulk(cursor.to_string().into()), found]))
    }
}

/// The cluster's cursor for the master of `slot` and its own `cursor`; `None` where it does not fit.
fn cursor_at(slot: u16, cursor: u64) -> Option<u64> {
    cursor.checked_mul(u64::from(SLOTS))?.checked_add(u64::from(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_walks_from_master_to_master() {
        assert_eq!(Step::at(0, &[0, 8192]), Some((Step { slot: 0, next: Some(8192) }, 0)));
        let there = cursor_at(8192, 77).unwrap();
        assert_eq!(Step::at(there, &[0, 8192]), Some((Step { slot: 8192, next: None }, 77)));
        assert_eq!(Step::at(0, &[]), None);
    }

    #[test]
    fn a_scan_ends_only_after_the_last_master() {
        let cursor = |own: &'static str, slot, next| {
            let reply = Reply::Array(vec![Reply::Bulk(own.into()), Reply::Array(Vec::new())]);
            match (Step { slot, next }).answer(reply) {
                Some(Reply::Array(parts)) => parts[0].clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(cursor("5", 7, Some(9)), Reply::Bulk((5 * 16_384 + 7).to_string().into()));
        assert_eq!(cursor("0", 7, Some(9)), Reply::Bulk("9".into()));
        assert_eq!(cursor("0", 9, None), Reply::Bulk("0".into()));
    }
}
