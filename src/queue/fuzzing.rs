//! Entry points for fuzzing: reading stored records, which other programs may have written, and options.

use bytes::Bytes;
use serde_json::Value;

use super::Core;
use super::options::{JobOptions, WorkerOptions};
use super::reading::StoredOptions;
use super::record::{JobRecord, RunRecord};
use super::snapshot::{Snapshot, options_of};
use super::{outbox, worker};
use crate::connection::Manager;
use crate::crossing::Outcome;
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;
use crate::resp::Reply;

pub use super::schedules::fuzzing as schedules;

/// Reads the records of one queue.
#[derive(Debug)]
pub struct Reading(Core);

impl Reading {
    /// `manager` sends nothing.
    #[must_use]
    pub fn with(manager: Manager) -> Self {
        Self(Core::new(manager, Namespace::NONE, "q".to_owned()))
    }

    pub(super) fn core(&self) -> &Core {
        &self.0
    }

    /// Reads both records of a job.
    ///
    /// # Panics
    ///
    /// If the values for TypeScript contradict the records.
    pub fn job(&self, stored: &Bytes, run: &Bytes) {
        let parts = [b"id", &stored[..], run, b"", b""].map(|part| Reply::Bulk(Bytes::copy_from_slice(part)));
        let snapshot = Snapshot::read(&mut Vec::from(parts).into_iter()).expect("five texts are a snapshot");
        let Outcome::List(values) = snapshot.outcome_or_damaged() else { panic!("a job is a list") };
        assert_eq!(values.len(), 14, "a job has as many values as the face reads");
        StoredOptions::of(&self.0, stored);
        let (stored, run) = (JobRecord::read(stored), RunRecord::read(Some(run)));
        if let (Ok(stored), Ok(run)) = (&stored, &run) {
            if let Outcome::Text(options) = options_of(&stored.options, run.priority)
                && options != stored.options
            {
                let options: Value = serde_json::from_slice(&options).expect("changed options are JSON");
                assert_eq!(options["priority"].as_u64(), run.priority, "a job has the priority that it was given");
            }
            worker::end_in_every_way(&self.0, stored, run);
        }
    }

    /// Reads a message of an outbox.
    pub fn message(&self, field: &[u8], message: &[u8]) {
        outbox::read(field, message);
    }
}

/// Writes a job record of these parts, and reads it.
///
/// # Panics
///
/// If the parts differ from those that were written.
pub fn put_together(added: u64, parts: [&str; 5]) {
    let [name, options, parent, data, group] = parts;
    let body =
        JobRecord::body(name.as_bytes(), options.as_bytes(), parent.as_bytes(), data.as_bytes(), group.as_bytes());
    let record = Bytes::from([format!("{added} ").as_bytes(), &body].concat());
    let Ok(stored) = JobRecord::read(&record) else {
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
/// `config` for wrong options.
///
/// # Panics
///
/// If the stored form of the options means something else.
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
/// `config` for wrong options.
pub fn worker_options(json: &str) -> Result<()> {
    WorkerOptions::read(Options::parse("TaskQueue.worker", json)?).map(drop)
}
