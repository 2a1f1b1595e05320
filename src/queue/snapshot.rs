//! A job as scripts show it and as the face reads it.

use std::vec;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::record::{Progressed, State, Stored};
use super::scripts::{array, bytes};
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::resp::Reply;

/// A job as a script gives it: id, the two records, progress, stacks.
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

    /// Of a job that was just added: there is no more of it than its records.
    pub(super) fn added(parts: &mut vec::IntoIter<Reply>) -> Result<Self> {
        let mut next = || parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply);
        Ok(Self { id: next()?, body: next()?, record: Some(next()?), progress: None, stacks: None })
    }

    /// The fourteen values that the face reads.
    ///
    /// # Errors
    ///
    /// `serialization` where what is stored is damaged.
    pub(super) fn outcome(&self) -> Result<Outcome> {
        let stored = Stored::read(&self.body)?;
        let progressed = Progressed::read(self.record.as_ref())?;
        let time = |ms: u64| if ms == 0 { Outcome::Null } else { Outcome::Number(ms as f64) };
        let text = |bytes: Option<&Bytes>| bytes.map_or(Outcome::Null, |bytes| Outcome::Text(bytes.clone()));
        let rest = Some(&progressed.rest).filter(|rest| !rest.is_empty());
        let is = |state| progressed.state == state;
        Ok(Outcome::List(vec![
            Outcome::Text(self.id.clone()),
            Outcome::Text(stored.name),
            Outcome::Text(stored.data),
            options_of(&stored.options, progressed.priority),
            Outcome::Text(Bytes::from_static(progressed.state.name().as_bytes())),
            Outcome::Number(progressed.attempts as f64),
            Outcome::Number(stored.added as f64),
            time(progressed.started),
            time(progressed.finished),
            Outcome::Number(progressed.stalls as f64),
            text(self.progress.as_ref()),
            text(rest.filter(|_| is(State::Completed))),
            text(rest.filter(|_| is(State::Failed))),
            text(self.stacks.as_ref()),
        ]))
    }

    /// As [`Snapshot::outcome`]; a damaged job says that it is.
    pub(super) fn outcome_or_damaged(&self) -> Outcome {
        self.outcome().unwrap_or_else(|error| {
            let state = Progressed::read(self.record.as_ref()).map_or(State::Failed, |progressed| progressed.state);
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

/// The options a job was added with, and the priority it has now.
pub(super) fn options_of(stored: &Bytes, priority: Option<u64>) -> Outcome {
    let changed = priority.and_then(|priority| {
        // Nothing else than an object is options, whoever wrote it.
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

/// The jobs that a script gives.
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
    fn a_changed_priority_is_among_the_options_and_options_that_are_none_are_left_alone() {
        assert_eq!(options("", 3), Outcome::Text(r#"{"priority":3}"#.into()));
        assert_eq!(options(r#"{"priority":1}"#, 3), Outcome::Text(r#"{"priority":3}"#.into()));
        assert_eq!(options(r#"{"priority":3}"#, 3), Outcome::Text(r#"{"priority":3}"#.into()));
        for damaged in ["5", "[]", "\"x\"", "{"] {
            assert_eq!(options(damaged, 3), Outcome::Text(damaged.into()));
        }
    }
}
