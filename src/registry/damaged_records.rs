//! Records that this package cannot have written: they are skipped, reported and removed.
//!
//! A script removes what it cannot read and notes it (`done` in `lua/part/call.lua`). Invalid JSON is found here. The holder of a
//! removed worker learns of the removal with its next heartbeat, and registers the worker again.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::Inner;
use super::scripts;
use super::worker::Row;
use crate::error::{Error, Result};
use crate::resp::Reply;

/// Pairs: the part, and the id or key it belongs to.
pub(super) type Notes = Vec<Reply>;

/// Splits the reply of a script into its answer and its notes: `{'damaged', notes, answer}`, or the answer alone.
pub(super) fn split(reply: Reply) -> (Reply, Notes) {
    match reply {
        Reply::Array(mut parts) if parts.len() == 3 && parts[0] == Reply::Bulk(Bytes::from_static(b"damaged")) => {
            match (parts.pop(), parts.pop()) {
                (Some(answer), Some(Reply::Array(notes))) => (answer, notes),
                (answer, _) => (answer.unwrap_or(Reply::Nil), Vec::new()),
            }
        }
        answer => (answer, Vec::new()),
    }
}

impl Inner {
    /// Reports what a script noted, and returns its answer.
    pub(super) fn answer_of(&self, reply: Reply) -> Reply {
        let (answer, notes) = split(reply);
        for pair in notes.chunks_exact(2) {
            if let [Reply::Bulk(part), Reply::Bulk(of)] = pair {
                self.report_damaged(&String::from_utf8_lossy(part), of);
            }
        }
        answer
    }

    pub(super) fn report_damaged(&self, part: &str, of: &[u8]) {
        self.manager.metrics().registry_malformed.add(1);
        let event = json!({ "event": "malformed", "part": part, "of": String::from_utf8_lossy(of) });
        self.outlet.emit(event.to_string());
    }

    /// A worker as the scripts return it. A damaged record gives nothing: it is reported and removed.
    pub(super) async fn row(self: &Arc<Self>, reply: &Reply) -> Result<Option<Row>> {
        let texts = texts(reply)?;
        match Row::of(&texts) {
            Ok(row) => Ok(Some(row)),
            Err(part) => {
                let [id, state, ..] = &texts;
                self.report_damaged(part, &id[..id.len().min(1_024)]);
                let epoch = state.split(|byte| *byte == b' ').next().unwrap_or_default();
                let packed = self.begin(&scripts::DISCARD, &[], 2, id.len() + epoch.len() + 32).word(id).word(epoch);
                self.call(&scripts::DISCARD, packed).await?;
                Ok(None)
            }
        }
    }

    /// `{now, row}`, or `{now}` where there is none.
    pub(super) async fn one_row(self: &Arc<Self>, reply: &Reply) -> Result<(f64, Option<Row>)> {
        let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
        let Some(Reply::Int(now)) = parts.first() else { return Err(Error::unexpected_reply()) };
        let now = *now as f64;
        self.note_server_time(now);
        let row = match parts.get(1) {
            None | Some(Reply::Nil) => None,
            Some(row) => self.row(row).await?,
        };
        Ok((now, row))
    }
}

/// `{id, state, definition, metadata, alive, late, process}`.
pub(super) fn texts(reply: &Reply) -> Result<[Bytes; 7]> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let texts: Vec<Bytes> =
        parts.iter().filter_map(|part| if let Reply::Bulk(text) = part { Some(text.clone()) } else { None }).collect();
    texts.try_into().map_err(|_| Error::unexpected_reply())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_notes_of_a_script_are_separate_from_its_answer() {
        let notes = vec![bulk("state"), bulk("w")];
        let answer = Reply::Array(vec![Reply::Int(1)]);
        let reply = Reply::Array(vec![bulk("damaged"), Reply::Array(notes.clone()), answer.clone()]);
        assert_eq!(split(reply), (answer.clone(), notes));
        assert_eq!(split(answer.clone()), (answer, Vec::new()));
        for plain in [Reply::Int(1), Reply::Nil, Reply::Array(vec![bulk("damaged")])] {
            assert_eq!(split(plain.clone()), (plain, Vec::new()));
        }
    }
}
