//! Scripts by number, and transactions with scripts.

use std::collections::HashSet;

use bytes::BytesMut;

use super::{Bridge, shape, words};
use crate::arguments::Arguments;
use crate::connection::{Command, Manager, Script};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::resp::{self, Reply};
use crate::telemetry::Metrics;
use crate::verb::Call;

/// Defines a script. Arguments: its number, and its text.
pub(super) fn define(bridge: &Bridge, call: Call<'_>) {
    call.at_once(|call| {
        let at = index(call.id(0)?);
        let script = Script::of_user(&String::from_utf8_lossy(call.text(1, "lua")?));
        let mut scripts = bridge.scripts.write();
        if scripts.len() <= at {
            scripts.resize(at + 1, None);
        }
        scripts[at] = Some(script);
        Ok(Outcome::Nothing)
    });
}

/// Runs a script. Arguments: its number, the number of keys, the keys, the script's arguments.
pub(super) fn run(bridge: &Bridge, call: Call<'_>) {
    call.send(&bridge.manager, shape::resp2, |call| {
        let run = Run::read(bridge, &call.args)?;
        let payload = run.script.call(run.keys(), run.arguments().iter().copied());
        Ok(Command::raw(payload, call.operation()).calling(run.script))
    });
}

/// `MULTI`, commands and scripts, `EXEC`. Arguments: for each command or script the number of its arguments, then `null` and the words
/// of a command, or the arguments of [`run`]. Returns for each a list of the error line or `null`, and the reply.
pub(super) fn transaction(bridge: &Bridge, call: Call<'_>) {
    call.send(&bridge.manager, results, |call| pack(bridge, call));
}

fn pack(bridge: &Bridge, call: &Call<'_>) -> Result<Command> {
    let mut args = call.from(0);
    let mut payload = BytesMut::with_capacity(1024);
    resp::pack(&mut payload, &[b"MULTI"]);
    let mut sent = HashSet::new();
    let mut replies = 2;
    while let Some((Arg::Number(count), rest)) = args.split_first() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an array's length")]
        let (own, others) = rest.split_at_checked(*count as usize).unwrap_or((rest, &[]));
        if let Some((Arg::Null, own)) = own.split_first() {
            let (command, _) = bridge.manager.prepare(&words(&Arguments::of(call.owner(), own), 0)?)?;
            payload.extend_from_slice(&command.payload);
        } else {
            let run = Run::read(bridge, &Arguments::of("runCommand", own))?;
            let (keys, arguments) = (run.keys(), run.arguments().iter().copied());
            // The first call in the transaction sends the text, so later calls of the script need the digest only.
            let is_first = sent.insert(run.script.digest().to_owned());
            payload.extend_from_slice(&if is_first {
                run.script.call_with_text(keys, arguments)
            } else {
                run.script.call(keys, arguments)
            });
        }
        replies += 1;
        args = others;
    }
    resp::pack(&mut payload, &[b"EXEC"]);
    Ok(Command { replies, ..Command::raw(payload.freeze(), call.operation()) })
}

/// A call of a script.
struct Run<'a> {
    script: Script,
    key_count: usize,
    words: Vec<&'a [u8]>,
}

impl<'a> Run<'a> {
    fn read(bridge: &Bridge, args: &Arguments<'a>) -> Result<Self> {
        let at = index(args.id(0)?);
        let script = bridge.scripts.read().get(at).cloned().flatten();
        let script = script.ok_or_else(|| Error::config("runCommand: name: expected the name of a defined command"))?;
        let words = words(args, 2)?;
        let key_count = index(args.id(1)?);
        if key_count > words.len() {
            return Err(Error::config(format!(
                "runCommand: args: expected at least the {key_count} keys of the script, got {} arguments",
                words.len()
            )));
        }
        Ok(Self { script, key_count, words })
    }

    fn keys(&self) -> &[&'a [u8]] {
        &self.words[..self.key_count]
    }

    fn arguments(&self) -> &[&'a [u8]] {
        &self.words[self.key_count..]
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The results of a transaction one by one. A failed command has an error, because Redis executes the others.
fn results(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    let results = match reply {
        Reply::Array(mut replies) if matches!(replies.last(), Some(Reply::Array(_))) => replies.pop(),
        // The transaction was not executed; the error line says why.
        other => Some(Reply::Array(Manager::transaction_outcome(other)?)),
    };
    let Some(Reply::Array(results)) = results else {
        return Ok(Outcome::Null);
    };
    let pair = |result| match result {
        Reply::Error(line) => Reply::Array(vec![Reply::Bulk(line), Reply::Nil]),
        other => Reply::Array(vec![Reply::Nil, shape::flat(other)]),
    };
    Ok(Outcome::Reply(Reply::Array(results.into_iter().map(pair).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_result_is_returned_with_the_other_results() {
        let queued = || Reply::Simple("QUEUED".into());
        let executed = Reply::Array(vec![Reply::Int(1), Reply::Error("ERR no".into()), Reply::Double(1.5)]);
        let reply = Reply::Array(vec![Reply::Simple("OK".into()), queued(), queued(), queued(), executed]);
        let pair = |error, value| Reply::Array(vec![error, value]);
        assert_eq!(
            results(reply, &Metrics::default()).unwrap(),
            Outcome::Reply(Reply::Array(vec![
                pair(Reply::Nil, Reply::Int(1)),
                pair(Reply::Bulk("ERR no".into()), Reply::Nil),
                pair(Reply::Nil, Reply::Bulk("1.5".into())),
            ]))
        );
    }

    #[test]
    fn a_transaction_that_was_refused_is_an_error() {
        let refused = Reply::Error("ERR unknown command".into());
        let reply = Reply::Array(vec![Reply::Simple("OK".into()), refused, Reply::Error("EXECABORT discarded".into())]);
        assert!(results(reply, &Metrics::default()).unwrap_err().message().contains("unknown command"));
    }
}
