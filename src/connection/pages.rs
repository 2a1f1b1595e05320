//! The pages of one server's `SCAN`. A cursor is used only with the server process that gave it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::cursor::Origin;
use super::manager::Manager;
use super::packed::Packed;
use super::request::Destination;
use super::server_info::field;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// The options of a walk.
#[derive(Debug)]
pub struct ScanOptions {
    /// A glob pattern.
    pub pattern: Bytes,
    /// About how many keys the server looks at for one page.
    pub count: u64,
    pub operation: Operation,
}

/// Until when a step may be tried again.
#[derive(Debug)]
pub(super) struct RetryWindow(Instant);

/// The pause before a server, or the slot map, is asked again.
const PAUSE: Duration = Duration::from_millis(50);

impl RetryWindow {
    pub(super) fn new(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// Waits before the next attempt, or fails with `error` when the time is over.
    pub(super) async fn pause(&self, error: Error) -> Result<()> {
        if Instant::now() + PAUSE >= self.0 {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// A cursor of one server's `SCAN`, and the server process that gave it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ServerCursor {
    origin: Origin,
    /// The `run_id` of the process; `None` where it is unknown.
    run: Option<String>,
    cursor: String,
}

impl ServerCursor {
    /// The first page of a server. In a cluster the server is `destination`. With `nodes`, `CLUSTER NODES` is sent before `SCAN`.
    pub(super) async fn first(
        manager: &Manager,
        destination: Option<&Destination>,
        options: &ScanOptions,
        nodes: bool,
        window: &RetryWindow,
    ) -> Result<(Option<String>, Self, Vec<Bytes>)> {
        let mut packed = Packed::sized(options.pattern.len() + 128);
        if nodes {
            packed = cluster_nodes(packed);
        }
        let command = scan(info(packed), "0", options).reads(options.operation);
        loop {
            let (replies, origin) = ask(manager, command.clone(), destination).await?;
            let mut replies = replies.into_iter();
            let view = if nodes { replies.next().map(text).transpose()? } else { None };
            let run = replies.next().and_then(run_id);
            match replies.next().ok_or_else(unexpected_reply).and_then(page) {
                Ok((cursor, keys)) => return Ok((view, Self { origin, run, cursor }, keys)),
                Err(error) if is_not_yet(&error) => window.pause(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The page at the cursor; `None` where the server is another process by now.
    pub(super) async fn next(
        self,
        manager: &Manager,
        destination: Option<&Destination>,
        options: &ScanOptions,
        window: &RetryWindow,
    ) -> Result<Option<(Self, Vec<Bytes>)>> {
        let pack = |packed| scan(packed, &self.cursor, options);
        let Some((reply, origin)) = self.ask(manager, destination, options.operation, &pack, window).await? else {
            return Ok(None);
        };
        let (cursor, keys) = page(reply)?;
        Ok(Some((Self { origin, cursor, run: self.run }, keys)))
    }

    /// `CLUSTER NODES`, from the process of the cursor; `None` where the server is another process by now.
    pub(super) async fn view(
        &self,
        manager: &Manager,
        destination: Option<&Destination>,
        options: &ScanOptions,
        window: &RetryWindow,
    ) -> Result<Option<String>> {
        match self.ask(manager, destination, options.operation, &cluster_nodes, window).await? {
            Some((reply, _)) => text(reply).map(Some),
            None => Ok(None),
        }
    }

    #[cfg(test)]
    pub(super) fn at(cursor: &str, origin: Origin) -> Self {
        Self { origin, run: None, cursor: cursor.to_owned() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.cursor == "0"
    }

    /// Sends a command to the process of the cursor; `None` where another process answers.
    async fn ask(
        &self,
        manager: &Manager,
        destination: Option<&Destination>,
        operation: Operation,
        pack: &(impl Fn(Packed) -> Packed + Sync),
        window: &RetryWindow,
    ) -> Result<Option<(Reply, Origin)>> {
        let (mut replies, origin) = ask(manager, pack(Packed::sized(128)).reads(operation), destination).await?;
        if origin == self.origin {
            return Ok(replies.pop().map(|reply| (reply, origin)));
        }
        let Some(run) = &self.run else { return Ok(None) };
        let command = pack(info(Packed::sized(128))).reads(operation);
        loop {
            let (replies, origin) = ask(manager, command.clone(), destination).await?;
            let [said, reply] = <[Reply; 2]>::try_from(replies).map_err(|_| unexpected_reply())?;
            if run_id(said).as_ref() != Some(run) {
                return Ok(None);
            }
            match error_of(&reply) {
                Some(error) if is_not_yet(&error) => window.pause(error).await?,
                Some(error) => return Err(error),
                None => return Ok(Some((reply, origin))),
            }
        }
    }
}

/// Does `error` mean that the destination is no longer a master of the cluster?
pub(super) fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection && error.delivery() == Delivery::NotSent
}

/// Does `error` mean that the server will answer later?
fn is_not_yet(error: &Error) -> bool {
    matches!(error.server_code(), Some("LOADING" | "MASTERDOWN"))
}

async fn ask(manager: &Manager, command: Command, destination: Option<&Destination>) -> Result<(Vec<Reply>, Origin)> {
    let several = command.replies > 1;
    match manager.call_at(command, destination.cloned()).await? {
        (Reply::Array(replies), origin) if several => Ok((replies, origin)),
        (reply, origin) => Ok((vec![reply], origin)),
    }
}

fn scan(packed: Packed, cursor: &str, options: &ScanOptions) -> Packed {
    let packed = packed.begin(6, b"SCAN").word(cursor.as_bytes()).word(b"MATCH").word(&options.pattern);
    packed.word(b"COUNT").number(options.count)
}

fn info(packed: Packed) -> Packed {
    packed.begin(2, b"INFO").word(b"server")
}

fn cluster_nodes(packed: Packed) -> Packed {
    packed.begin(2, b"CLUSTER").word(b"NODES")
}

/// The process of a server, from `INFO server`. `None` if the user has no permission for `INFO`.
fn run_id(reply: Reply) -> Option<String> {
    field(&text(reply).ok()?, "run_id").map(str::to_owned)
}

fn error_of(reply: &Reply) -> Option<Error> {
    match reply {
        Reply::Error(line) => Some(Error::from_reply(&String::from_utf8_lossy(line))),
        _ => None,
    }
}

fn text(reply: Reply) -> Result<String> {
    match reply {
        Reply::Bulk(text) | Reply::Simple(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        other => Err(error_of(&other).unwrap_or_else(unexpected_reply)),
    }
}

fn page(reply: Reply) -> Result<(String, Vec<Bytes>)> {
    if let Some(error) = error_of(&reply) {
        return Err(error);
    }
    let Reply::Array(parts) = reply else { return Err(unexpected_reply()) };
    let Ok([cursor, Reply::Array(keys)]) = <[Reply; 2]>::try_from(parts) else { return Err(unexpected_reply()) };
    let keys = keys.into_iter().map(|key| if let Reply::Bulk(key) = key { Ok(key) } else { Err(unexpected_reply()) });
    Ok((text(cursor)?, keys.collect::<Result<_>>()?))
}

fn unexpected_reply() -> Error {
    Error::unexpected_reply().to_command(|| "`SCAN`".to_owned()).with_delivery(Delivery::Rejected)
}
