//! A job as scripts return it, and its conversion for TypeScript.

use std::vec;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::record::{JobRecord, RunRecord, State};
use super::scripts::{array, bytes};
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::resp::Reply;

/// A job as a script returns it: the id, the two records, the progress, the stacks of failures.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) id: Bytes,
    pub(super) body: Bytes,
    pub(super) record: Option<Bytes>,
    progress: Option<Bytes>,
    stacks: Option<Bytes>,
}

impl Snapshot {
    pub(super) fn read(parts: &mut vec::IntoIter<Reply>) -> Result<Self> {
        let mut next = || parts.next().ok_or_else(Error::unexpected_reply).map(bytes);
        let (id, body, record, progress, stacks) = (next()?, next()?, next()?, next()?, next()?);
        let id = id.ok_or_else(Error::unexpected_reply)?;
        Ok(Self { id, body: body.unwrap_or_default(), record, progress, stacks })
    }

    /// Reads a job that was just added, which has only its records.
    pub(super) fn added(parts: &mut vec::IntoIter<Reply>) -> Result<Self> {
        let mut next = || parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply);
        Ok(Self { id: next()?, body: next()?, record: Some(next()?), progress: None, stacks: None })
    }

    /// The fourteen values that TypeScript reads.
    ///
    /// # Errors
    ///
    /// `serialization` if a record is damaged.
    pub(super) fn outcome(&self) -> Result<Outcome> {
        let stored = JobRecord::read(&self.body)?;
        let run = RunRecord::read(self.record.as_ref())?;
        let time = |ms: u64| if ms == 0 { Outcome::Null } else { Outcome::Number(ms as f64) };
        let text = |bytes: Option<&Bytes>| bytes.map_or(Outcome::Null, |bytes| Outcome::Text(bytes.clone()));
        let rest = Some(&run.rest).filter(|rest| !rest.is_empty());
        let is = |state| run.state == state;
        Ok(Outcome::List(vec![
            Outcome::Text(self.id.clone()),
            Outcome::Text(stored.name),
            Outcome::Text(stored.data),
            options_of(&stored.options, run.priority),
            Outcome::Text(Bytes::from_static(run.state.name().as_bytes())),
            Outcome::Number(run.attempts as f64),
            Outcome::Number(stored.added as f64),
            time(run.started),
            time(run.finished),
            Outcome::Number(run.stalls as f64),
            text(self.progress.as_ref()),
            text(rest.filter(|_| is(State::Completed))),
            text(rest.filter(|_| is(State::Failed))),
            text(self.stacks.as_ref()),
        ]))
    }

    /// As [`Snapshot::outcome`]. A damaged job becomes a failed job whose reason is the error.
    pub(super) fn outcome_or_damaged(&self) -> Outcome {
        self.outcome().unwrap_or_else(|error| {
            let state = RunRecord::read(self.record.as_ref()).map_or(State::Failed, |run| run.state);
            let word = |word: &'static str| Outcome::Text(Bytes::from_static(word.as_bytes()));
            let (none, zero) = (|| Outcome::Null, || Outcome::Number(0.0));
            Outcome::List(vec![
                Outcome::Text(self.id.clone()),
                word(""),
                word("null"),
                none(),
                word(state.name()),
                zero(),
                zero(),
                none(),
                none(),
                zero(),
                none(),
                none(),
                Outcome::Text(error.message().to_owned().into()),
                none(),
            ])
        })
    }
}

/// The options that a job was added with, with its present priority.
pub(super) fn options_of(stored: &Bytes, priority: Option<u64>) -> Outcome {
    let changed = priority.and_then(|priority| {
        // JobRecord options that are no object were not written by this package.
        let mut options: Map<String, Value> =
            if stored.is_empty() { Map::new() } else { serde_json::from_slice(stored).ok()? };
        let present = options.get("priority").and_then(Value::as_u64).unwrap_or(0);
        (present != priority).then(|| {
            options.insert("priority".to_owned(), json!(priority));
            Value::Object(options).to_string()
        })
    });
    match changed {
        Some(changed) => Outcome::Text(changed.into()),
        None if stored.is_empty() => Outcome::Null,
        None => Outcome::Text(stored.clone()),
    }
}

/// Reads the jobs that a script returned.
pub(super) fn snapshots(reply: Reply) -> Result<Vec<Snapshot>> {
    let mut parts = array(reply).ok_or_else(Error::unexpected_reply)?.into_iter();
    let mut jobs = Vec::new();
    while parts.len() > 0 {
        jobs.push(Snapshot::read(&mut parts)?);
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(stored: &'static str, priority: u64) -> Outcome {
        options_of(&Bytes::from_static(stored.as_bytes()), Some(priority))
    }

    #[test]
    fn a_changed_priority_replaces_the_stored_one_and_damaged_options_stay_as_they_are() {
        assert_eq!(options("", 3), Outcome::Text(r#"{"priority":3}"#.into()));
        assert_eq!(options(r#"{"priority":1}"#, 3), Outcome::Text(r#"{"priority":3}"#.into()));
        assert_eq!(options(r#"{"priority":3}"#, 3), Outcome::Text(r#"{"priority":3}"#.into()));
        for damaged in ["5", "[]", "\"x\"", "{"] {
            assert_eq!(options(damaged, 3), Outcome::Text(damaged.into()));
        }
    }
}
