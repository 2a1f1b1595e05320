//! A walk over all keys of a server, or of all masters of a cluster: `SCAN`, a page at a time.
//!
//! # Promise
//!
//! A key that exists during the whole walk is on at least one page, even if servers fail or slots move. It may be on several pages. The
//! state between two pages does not grow with the number of keys.
//!
//! A cursor is used only with the server process that gave it. The process is identified by the connection, or by its `run_id` on
//! another connection. With another process this part of the walk starts again. For a cluster see `cluster/course.rs`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cluster::{self, Course};
use super::manager::Manager;
use super::pages::{RetryWindow, ScanOptions, ServerCursor};
use super::target::Target;
use crate::error::Result;

/// The place of a walk. It can be serialized.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Walk {
    /// The place on a single server.
    cursor: Option<ServerCursor>,
    /// The place in a cluster.
    course: Option<Course>,
}

/// The outcome of one step.
#[derive(Debug)]
pub struct Page {
    pub keys: Vec<Bytes>,
    /// `None` when the walk is over.
    pub next: Option<Walk>,
    /// Was a part of the walk started again, or must it be walked again, because servers changed?
    pub disturbed: bool,
}

impl Walk {
    /// The walk after a page of a single server; `None` at the end.
    fn on_server(cursor: ServerCursor) -> Option<Self> {
        (!cursor.is_over()).then_some(Self { cursor: Some(cursor), course: None })
    }

    /// Reads the text of [`Walk::write`].
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
    /// The next page of a walk. A page takes at most four commands, each bounded by `commandTimeoutMs`.
    ///
    /// # Errors
    ///
    /// As for any command; `server` with `CLUSTERDOWN` where no node serves a part of a cluster's keys.
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
