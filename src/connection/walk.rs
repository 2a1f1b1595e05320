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
use super::pages::{RetryWindow, ScanOptions, ServerCursor};
use super::target::Target;
use crate::error::Result;

/// The place of a walk. It can be written down and read again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Walk {
    /// On one server.
    cursor: Option<ServerCursor>,
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
    /// Further on the server of `cursor`, unless it is over there.
    fn on_server(cursor: ServerCursor) -> Option<Self> {
        (!cursor.is_over()).then_some(Self { cursor: Some(cursor), course: None })
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
    pub async fn walk(&self, walk: Walk, options: &ScanOptions) -> Result<Page> {
        if matches!(self.config().target, Target::Cluster(_)) {
            let course = walk.course.unwrap_or_default();
            let step = cluster::walk_on(self, course, options).await?;
            let next = step.course.map(|course| Walk { cursor: None, course: Some(course) });
            return Ok(Page { keys: step.keys, next, disturbed: step.disturbed });
        }
        let window = RetryWindow::new(self.config().command_timeout);
        let begun = walk.cursor.is_some();
        if let Some(cursor) = walk.cursor
            && let Some((cursor, keys)) = cursor.next(self, None, options, &window).await?
        {
            return Ok(Page { keys, next: Walk::on_server(cursor), disturbed: false });
        }
        let (_, cursor, keys) = ServerCursor::first(self, None, options, false, &window).await?;
        Ok(Page { keys, next: Walk::on_server(cursor), disturbed: begun })
    }
}
