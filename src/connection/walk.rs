//! A walk over all keys of a server, or of a cluster from master to master: `SCAN`, a page at a time.
//!
//! # Promise
//!
//! A key that is there all the while is on some page, whatever becomes of the servers meanwhile; it may be on several. What is kept
//! between two pages does not grow with the keys.
//!
//! How: a cursor is used only with the process that gave it, known by its connection, or by its `run_id` where the connection is
//! another one. With another process its part of the walk starts again. What a cluster adds is in `cluster/course.rs`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cluster::{self, Course};
use super::manager::Manager;
use super::pages::{Look, Patience, Thread};
use super::target::Target;
use crate::error::Result;

/// The place of a walk. It can be written down and read again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Walk {
    /// On one server.
    thread: Option<Thread>,
    /// In a cluster.
    course: Option<Course>,
}

/// What one step gives.
#[derive(Debug)]
pub struct Page {
    pub keys: Vec<Bytes>,
    /// `None` when the walk is over.
    pub next: Option<Walk>,
    /// Was a part of the walk started again, or is it to be walked over again, because servers changed?
    pub disturbed: bool,
}

impl Walk {
    /// Further on the server of `thread`, unless it is over there.
    fn on_server(thread: Thread) -> Option<Self> {
        (!thread.is_over()).then_some(Self { thread: Some(thread), course: None })
    }

    /// Reads what [`Walk::write`] wrote.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Manager {
    /// The next page of a walk. Bounded by `commandTimeoutMs` for each of its at most four questions.
    ///
    /// # Errors
    ///
    /// As for any command; `server` with `CLUSTERDOWN` where a part of a cluster's keys is served by nobody.
    pub async fn walk(&self, walk: Walk, look: &Look) -> Result<Page> {
        if matches!(self.config().target, Target::Cluster(_)) {
            let course = walk.course.unwrap_or_default();
            let step = cluster::walk_on(self, course, look).await?;
            let next = step.course.map(|course| Walk { thread: None, course: Some(course) });
            return Ok(Page { keys: step.keys, next, disturbed: step.disturbed });
        }
        let patience = Patience::new(self.config().command_timeout);
        let begun = walk.thread.is_some();
        if let Some(thread) = walk.thread
            && let Some((thread, keys)) = thread.next(self, None, look, &patience).await?
        {
            return Ok(Page { keys, next: Walk::on_server(thread), disturbed: false });
        }
        let (_, thread, keys) = Thread::first(self, None, look, false, &patience).await?;
        Ok(Page { keys, next: Walk::on_server(thread), disturbed: begun })
    }
}
