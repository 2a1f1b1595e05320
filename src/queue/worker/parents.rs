//! Looks after jobs that wait for children in other queues, of whose end nobody may tell them any more.
//!
//! News of a child are a message, deleted when it was delivered. A server that fails over may lose what it had written last: the news with
//! it, though the message is deleted where it came from. So the workers of a queue walk its waiting parents, slowly, a page at a time for the
//! whole fleet, and ask the queues of their children. Those answer by messages where a parent knows something else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::Inner;
use super::slot::id_text;
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::queue::outbox::see_to_messages;
use crate::queue::scripts::{self, ScriptCall, array, bytes, integer, operation};

/// From one page to the next.
const PAUSE: Duration = Duration::from_secs(5);
/// For how long a parent has waited at least: most have heard by then.
const SETTLED: Duration = Duration::from_secs(5);
const PARENTS: u64 = 100;
const CHILDREN: u64 = 1_000;

impl Inner {
    /// Looks at the next page of parents, in a task of its own.
    pub(super) fn look_after_parents(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        lifecycle::spawn(async move {
            // What fails now is asked again on the next walk.
            if let Err(error) = worker.ask_for_children().await {
                worker.tell_error(&error);
            }
        });
    }

    async fn ask_for_children(&self) -> Result<()> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or_default();
        let call = ScriptCall::of(&self.core, &scripts::LOOK)
            .number(millis(PAUSE))
            .number(millis(SETTLED))
            .number(PARENTS)
            .number(CHILDREN);
        let found = array(self.core.call(call.writes(*operation::ADMIN)).await?).ok_or_else(Error::unexpected_reply)?;
        let mut words = found.into_iter().filter_map(bytes);
        let mut next =
            || Some([words.next()?, words.next()?, words.next()?, words.next()?, words.next()?, words.next()?]);
        let mut by_queue: HashMap<String, Vec<[Bytes; 4]>> = HashMap::new();
        while let Some([parent, name, known, queue, child, once]) = next() {
            // The text that names its parent in the child's own record, see `flows`.
            let wanted = json!([self.core.name, id_text(&parent), id_text(&name)]).to_string();
            by_queue.entry(id_text(&queue)).or_default().push([child, once, wanted.into(), known]);
        }
        let mut outcome = Ok(());
        for (queue, children) in by_queue {
            let there = Arc::new(self.core.beside(&queue));
            let mut call = ScriptCall::of(&there, &scripts::ASK).number(children.len() as u64);
            for part in children.into_iter().flatten() {
                call.add(part);
            }
            match self.core.call(call.writes(*operation::ADMIN)).await {
                Ok(left) => see_to_messages(&there, integer(&left).unwrap_or_default()),
                // A queue that cannot be reached is nothing to the others.
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}
