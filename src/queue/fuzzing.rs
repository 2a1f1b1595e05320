//! For fuzzing: what a queue makes of stored records, whoever wrote them, and of options.

use bytes::Bytes;
use serde_json::Value;

use super::Core;
use super::options::{JobOptions, WorkerOptions};
use super::reading::Known;
use super::record::{Progressed, Stored};
use super::snapshot::{Snapshot, options_of};
use super::{outbox, worker};
use crate::connection::Manager;
use crate::crossing::Outcome;
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;
use crate::resp::Reply;

pub use super::schedules::fuzzing as schedules;

/// What the records of one queue are read with.
#[derive(Debug)]
pub struct Reading(Core);

impl Reading {
    /// Nothing is sent with `manager`.
    #[must_use]
    pub fn with(manager: Manager) -> Self {
        Self(Core::new(manager, Namespace::NONE, "q".to_owned()))
    }

    pub(super) fn core(&self) -> &Core {
        &self.0
    }

    /// A job out of both of its records.
    ///
    /// # Panics
    ///
    /// Where a record means something else than it says.
    pub fn job(&self, stored: &Bytes, progressed: &Bytes) {
        let parts = [b"id", &stored[..], progressed, b"", b""].map(|part| Reply::Bulk(Bytes::copy_from_slice(part)));
        let snapshot = Snapshot::read(&mut Vec::from(parts).into_iter()).expect("five texts are a snapshot");
        let Outcome::List(values) = snapshot.outcome_or_damaged() else { panic!("a job is a list") };
        assert_eq!(values.len(), 14, "a job has as many values as the face reads");
        Known::of(&self.0, stored);
        let (stored, progressed) = (Stored::read(stored), Progressed::read(Some(progressed)));
        if let (Ok(stored), Ok(progressed)) = (&stored, &progressed) {
            if let Outcome::Text(options) = options_of(&stored.options, progressed.priority)
                && options != stored.options
            {
                let options: Value = serde_json::from_slice(&options).expect("changed options are JSON");
                assert_eq!(
                    options["priority"].as_u64(),
                    progressed.priority,
                    "a job has the priority that it was given"
                );
            }
            worker::end_in_every_way(&self.0, stored, progressed);
        }
    }

    /// A message of an outbox.
    pub fn message(&self, field: &[u8], message: &[u8]) {
        outbox::read(field, message);
    }
}

/// A record of these parts, and what it comes apart into.
///
/// # Panics
///
/// Where that is something else.
pub fn put_together(added: u64, parts: [&str; 5]) {
    let [name, options, parent, data, group] = parts;
    let body = Stored::body(name.as_bytes(), options.as_bytes(), parent.as_bytes(), data.as_bytes(), group.as_bytes());
    let record = Bytes::from([format!("{added} ").as_bytes(), &body].concat());
    let Ok(stored) = Stored::read(&record) else {
        assert!(name.is_empty() || data.is_empty() || added > 1 << 53, "what was put together is a record");
        return;
    };
    assert_eq!(
        (stored.added, &stored.name[..], &stored.options[..], &stored.parent[..], &stored.data[..]),
        (added, name.as_bytes(), options.as_bytes(), parent.as_bytes(), data.as_bytes())
    );
}

/// Reads options of a job.
///
/// # Errors
///
/// As everywhere.
///
/// # Panics
///
/// Where what is stored of them means something else.
pub fn job_options(text: &str) -> Result<()> {
    let mut options = JobOptions::parse(text)?;
    options.children.clear();
    let mut again = JobOptions::parse(&options.text)?;
    again.text.clone_from(&options.text);
    assert_eq!(again, options, "stored options mean what they meant");
    Ok(())
}

/// Reads options of a worker.
///
/// # Errors
///
/// As everywhere.
pub fn worker_options(json: &str) -> Result<()> {
    WorkerOptions::read(Options::parse("TaskQueue.worker", json)?).map(drop)
}
