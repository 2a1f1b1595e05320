//! The records of a job, and the states of a job.
//!
//! A job has two records. The job record is written when the job is added; later only its data changes:
//!
//! ```text
//! <added at, ms> <length of name> <of options> <of parent> <of group>\n<name><options><parent><data><group>
//! ```
//!
//! The run record says how far the job is. It is missing while the job waits for its first attempt at the place that its
//! options name:
//!
//! ```text
//! <state>|<lease>|<attempts that ended>|<stalls>|<started, ms>|<finished, ms>|<priority>|<group>\n<rest>
//! ```
//!
//! `rest` is the result of a completed job and the reason of a failed one.

use bytes::Bytes;

use crate::error::{Delivery, Error, ErrorKind, Result};

/// The state of a job.
///
/// ```text
/// added ──► Waiting | Delayed | WaitingChildren
/// WaitingChildren ──► Waiting            the last child has finished
/// WaitingChildren ──► Failed             a child has failed, or the job was cancelled
/// Delayed ──► Waiting                    the delay is over, or the job was promoted
/// Waiting ──► Delayed                    the delay was changed
/// Waiting, Delayed ──► Failed            the job was cancelled
/// Waiting ──► Active                     claimed
/// Active ──► Completed | Failed
/// Active ──► Waiting                     retried at once, handed back, or stalled
/// Active ──► Delayed                     retried later, or delayed by its processor
/// Failed ──► Waiting                     retried by hand
/// any but Active ──► removed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Waiting,
    Active,
    Delayed,
    Completed,
    Failed,
    WaitingChildren,
}

impl State {
    /// All states, in the order in which `counts.lua` returns them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Active, Self::Delayed, Self::Completed, Self::Failed, Self::WaitingChildren];

    /// The name in the TypeScript API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Delayed => "delayed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::WaitingChildren => "waiting-children",
        }
    }

    /// The state called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'w' => Self::Waiting,
            b'a' => Self::Active,
            b'd' => Self::Delayed,
            b'c' => Self::Completed,
            b'f' => Self::Failed,
            b'k' => Self::WaitingChildren,
            _ => return None,
        })
    }
}

/// The largest number in a record: the largest that JavaScript represents exactly. Adding one to it cannot overflow.
const MAX_NUMBER: u64 = 1 << 53;

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= MAX_NUMBER)
}

/// The job record, whose parts share one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobRecord {
    pub(super) added: u64,
    pub(super) name: Bytes,
    /// JSON; empty if none were given.
    pub(super) options: Bytes,
    /// JSON: the parent's queue if that is another queue, the parent's id, and the parent's name for this job. Empty without a
    /// parent.
    pub(super) parent: Bytes,
    /// JSON.
    pub(super) data: Bytes,
}

fn damaged() -> Error {
    Error::new(ErrorKind::Serialization, "the stored job is damaged").with_delivery(Delivery::Rejected)
}

impl JobRecord {
    /// # Errors
    ///
    /// `serialization` if the record is damaged.
    pub(super) fn read(record: &Bytes) -> Result<Self> {
        Self::parse(record).ok_or_else(damaged)
    }

    fn parse(record: &Bytes) -> Option<Self> {
        let end = record.iter().position(|b| *b == b'\n')?;
        let mut numbers = std::str::from_utf8(&record[..end]).ok()?.split(' ').map(number);
        let mut next = || numbers.next()?;
        let (added, name, options, parent, group) = (next()?, next()?, next()?, next()?, next()?);
        let mut at = end + 1;
        let mut part = |length: usize| {
            let to = at.checked_add(length).filter(|to| *to <= record.len())?;
            let part = record.slice(at..to);
            std::str::from_utf8(&part).ok()?;
            at = to;
            Some(part)
        };
        let (name, options, parent) = (
            part(usize::try_from(name).ok()?)?,
            part(usize::try_from(options).ok()?)?,
            part(usize::try_from(parent).ok()?)?,
        );
        let left = record.len() - (end + 1) - name.len() - options.len() - parent.len();
        let data = part(left.checked_sub(usize::try_from(group).ok()?)?)?;
        (!name.is_empty() && !data.is_empty()).then_some(Self { added, name, options, parent, data })
    }

    /// The record without its time, which the script puts before it.
    pub(super) fn body(name: &[u8], options: &[u8], parent: &[u8], data: &[u8], group: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(name.len() + options.len() + parent.len() + data.len() + group.len() + 24);
        let lengths = format!("{} {} {} {}\n", name.len(), options.len(), parent.len(), group.len());
        out.extend_from_slice(lengths.as_bytes());
        for part in [name, options, parent, data, group] {
            out.extend_from_slice(part);
        }
        out
    }
}

/// The run record: how far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRecord {
    pub(super) state: State,
    pub(super) lease: Bytes,
    pub(super) attempts: u64,
    pub(super) stalls: u64,
    pub(super) started: u64,
    pub(super) finished: u64,
    /// The priority, if it differs from the one that the job was added with.
    pub(super) priority: Option<u64>,
    pub(super) rest: Bytes,
}

impl RunRecord {
    /// The record of a job that waits for its first attempt.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Waiting,
            lease: Bytes::new(),
            attempts: 0,
            stalls: 0,
            started: 0,
            finished: 0,
            priority: None,
            rest: Bytes::new(),
        }
    }

    /// # Errors
    ///
    /// `serialization` if the record is damaged.
    pub(super) fn read(record: Option<&Bytes>) -> Result<Self> {
        record.map_or_else(|| Ok(Self::new()), |record| Self::parse(record).ok_or_else(damaged))
    }

    fn parse(record: &Bytes) -> Option<Self> {
        let end = record.iter().position(|b| *b == b'\n')?;
        let mut parts = record[..end].splitn(8, |b| *b == b'|');
        let state = match parts.next()? {
            [letter] => State::of(*letter)?,
            _ => return None,
        };
        let lease = record.slice_ref(parts.next()?);
        let number = |digits: &[u8]| number(std::str::from_utf8(digits).ok()?);
        let mut next = || number(parts.next()?);
        let (attempts, stalls, started, finished) = (next()?, next()?, next()?, next()?);
        let priority = match parts.next()? {
            b"" => None,
            digits => Some(number(digits)?),
        };
        let rest = record.slice(end + 1..);
        std::str::from_utf8(&rest).ok()?;
        Some(Self { state, lease, attempts, stalls, started, finished, priority, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_record_is_read_as_it_was_written() {
        let body = JobRecord::body(b"mail", b"{\"attempts\":3}", b"", b"[1,\"\n|\"]", b"tenant");
        let record = Bytes::from([b"1700000000000 ".as_slice(), &body].concat());
        let stored = JobRecord::read(&record).unwrap();
        assert_eq!(
            (stored.added, &stored.name[..], &stored.data[..]),
            (1_700_000_000_000, &b"mail"[..], &b"[1,\"\n|\"]"[..])
        );
        assert_eq!((&stored.options[..], &stored.parent[..]), (&b"{\"attempts\":3}"[..], &b""[..]));
        for length in 0..record.len() {
            // A truncated record is damaged, or has shorter data. Reading it never panics.
            let _ = JobRecord::read(&record.slice(..length));
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [
            "",
            "x",
            "1 2 3 4 5",
            "1 9 9 9 9\nabc",
            "1 1 0 0 0\n\u{1}",
            "1 18446744073709551615 1 1 1\nx",
            "18446744073709551615 1 0 0 0\nn1",
        ] {
            let error = JobRecord::read(&Bytes::from_static(bad.as_bytes())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Serialization, "{bad:?}");
        }
        for bad in
            ["", "w|", "z||0|0|0|0||\n", "w||0|0|0|0|x|\n", "w||0|0|0|-1||\n", "a|l|18446744073709551615|0|0|0||\n"]
        {
            assert!(RunRecord::read(Some(&Bytes::from_static(bad.as_bytes()))).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_run_record_is_read_into_its_parts() {
        let record = Bytes::from_static(b"f||2|1|5|9|7|a|b\nno\nway|");
        let read = RunRecord::read(Some(&record)).unwrap();
        assert_eq!((read.state, read.attempts, read.stalls, read.priority), (State::Failed, 2, 1, Some(7)));
        assert_eq!(&read.rest[..], b"no\nway|");
        assert_eq!(RunRecord::read(None).unwrap(), RunRecord::new());
    }
}
