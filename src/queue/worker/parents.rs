//! Checks jobs that wait for children in other queues, because an update about a child may have been lost.
//!
//! An update is a message that is deleted after its delivery. A failover can lose the last writes of a server. So an update can
//! be lost although its message was deleted. The workers of a queue therefore check the waiting parents slowly, one page at a
//! time for the whole fleet. They ask the queues of the children. If a parent has an outdated state of a child, the child's queue
//! sends a message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::Inner;
use super::slot::id_text;
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::queue::outbox::deliver_messages;
use crate::queue::scripts::{self, ScriptCall, array, bytes, integer, operation};

/// The pause between two pages.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a parent must have waited before it is checked. Most parents have got their updates by then.
const WAITED: Duration = Duration::from_secs(5);
const PARENTS: u64 = 100;
const CHILDREN: u64 = 1_000;

impl Inner {
    /// Checks the next page of parents in a new task.
    pub(super) fn check_parents(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        lifecycle::spawn(async move {
            // If this fails, the next round checks the page again.
            if let Err(error) = worker.check_next_page().await {
                worker.emit_error(&error);
            }
        });
    }

    async fn check_next_page(&self) -> Result<()> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or_default();
        let call = ScriptCall::of(&self.core, &scripts::CHECK_PARENTS)
            .number(millis(PAUSE))
            .number(millis(WAITED))
            .number(PARENTS)
            .number(CHILDREN);
        let found = array(self.core.call(call.writes(*operation::ADMIN)).await?).ok_or_else(Error::unexpected_reply)?;
        let mut words = found.into_iter().filter_map(bytes);
        let mut next =
            || Some([words.next()?, words.next()?, words.next()?, words.next()?, words.next()?, words.next()?]);
        let mut by_queue: HashMap<String, Vec<[Bytes; 4]>> = HashMap::new();
        while let Some([parent, name, known, queue, child, once]) = next() {
            // The text in the child's record that names its parent, see `flows`.
            let wanted = json!([self.core.name, id_text(&parent), id_text(&name)]).to_string();
            by_queue.entry(id_text(&queue)).or_default().push([child, once, wanted.into(), known]);
        }
        let mut outcome = Ok(());
        for (queue, children) in by_queue {
            let receiver = Arc::new(self.core.sibling(&queue));
            let mut call = ScriptCall::of(&receiver, &scripts::CHECK_CHILDREN).number(children.len() as u64);
            for part in children.into_iter().flatten() {
                call.add(part);
            }
            match self.core.call(call.writes(*operation::ADMIN)).await {
                Ok(left) => deliver_messages(&receiver, integer(&left).unwrap_or_default()),
                // A queue that cannot be reached does not hold up the others.
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}
