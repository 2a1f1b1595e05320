//! The error replies by which a server says that it executed nothing of a request, so that the request may go again.
//!
//! For a command, the first word of the error decides. A script may answer with any error of its author, also after it has
//! written. So for a script only the texts that the server itself writes decide, and no command of a script fails with these texts after
//! a command that wrote. A user's script may answer with the server's text. Then the server is asked ([`question`]) whether it also refuses
//! a command that changes nothing ([`confirms`]). Scripts of this package are trusted.

use bytes::{Bytes, BytesMut};

use super::command::Command;
use super::request::{Destination, Refusal, Refused, Request};
use super::script::Script;
use crate::error::said_in_script;
use crate::resp::{self, Reply};

/// Does the reply say that nothing was executed?
pub(super) fn refusal(request: &Request, reply: &Reply, in_cluster: bool) -> Option<Refused> {
    let command = &request.command;
    let line = refusing_line(command, reply)?;
    let said = std::str::from_utf8(&line).map_or(&line[..], |line| said_in_script(line).as_bytes());
    let refusal = match code_of(said) {
        b"NOSCRIPT" if command.script.is_some() => Refusal::Unloaded,
        code if in_cluster && is_elsewhere(code) => Refusal::Elsewhere,
        b"LOADING" | b"TRYAGAIN" | b"MASTERDOWN" | b"CLUSTERDOWN" => Refusal::Later,
        b"READONLY" => Refusal::Renew,
        // A server that becomes a replica sends this text to all its blocked clients. Other texts are about a key, or come from
        // `CLIENT UNBLOCK`.
        b"UNBLOCKED" if said.starts_with(b"UNBLOCKED force unblock from blocking operation") => Refusal::Renew,
        _ => return None,
    };
    let runs_script = runs_script(&command.payload);
    if runs_script && !is_the_servers(said, request.routing.destination.as_ref()) {
        return None;
    }
    let is_doubtful = runs_script && !command.script.as_ref().is_some_and(Script::is_ours);
    Some(Refused { refusal, line, is_doubtful })
}

/// Is `code` a code by which a node of a cluster says "not here" or "not now"?
fn is_elsewhere(code: &[u8]) -> bool {
    matches!(code, b"MOVED" | b"ASK" | b"TRYAGAIN" | b"CLUSTERDOWN" | b"LOADING" | b"MASTERDOWN" | b"READONLY")
}

/// The first word of an error line.
fn code_of(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// The command that tells whether a refusal is the server's own or the script's answer. It is `SCRIPT EXISTS`, or an invalid `MSET` on
/// the script's keys. A server that refuses requests refuses the `MSET` for the same reason. Any other server refuses it as invalid.
pub(super) fn question(command: &Command, refusal: Refusal) -> Bytes {
    let mut out = BytesMut::new();
    if let (Refusal::Unloaded, Some(script)) = (refusal, &command.script) {
        resp::pack(&mut out, &[b"SCRIPT", b"EXISTS", script.digest().as_bytes()]);
        return out.freeze();
    }
    let words = resp::unpack(&command.payload).map(|(words, _)| words).unwrap_or_default();
    let count = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok()).unwrap_or(0);
    let keys = words.get(3..).unwrap_or_default();
    let keys = &keys[..keys.len().min(count)];
    let first = keys.first().copied().unwrap_or(b"redis-backplane");
    // The last key has no value: nothing is ever set.
    let mut question: Vec<&[u8]> = vec![b"MSET"];
    keys.iter().for_each(|key| question.extend([*key, b""]));
    if keys.is_empty() {
        question.extend([first, b""]);
    }
    question.push(first);
    resp::pack(&mut out, &question);
    out.freeze()
}

/// Does the answer to the [`question`] say that the server refused the script, in the words of `line`?
pub(super) fn confirms(refusal: Refusal, line: &[u8], answer: &Reply) -> bool {
    match (refusal, answer) {
        (Refusal::Unloaded, Reply::Array(known)) => matches!(known[..], [Reply::Int(0)]),
        // The user may have the permission for `SCRIPT LOAD`, but not for `SCRIPT EXISTS`.
        (Refusal::Unloaded, _) => true,
        (_, Reply::Error(said)) => match code_of(said) {
            b"LOADING" | b"TRYAGAIN" | b"MASTERDOWN" | b"CLUSTERDOWN" | b"READONLY" | b"MOVED" | b"ASK" => true,
            // The user has no permission for `MSET`. A script hardly makes up a slot and an address.
            b"NOPERM" => matches!(code_of(line), b"MOVED" | b"ASK"),
            _ => false,
        },
        _ => false,
    }
}

/// The error line of a request, if nothing of the request was executed. Of a transaction that was aborted, or of several commands that were
/// all refused, it is the first error line.
fn refusing_line(command: &Command, reply: &Reply) -> Option<Bytes> {
    let line_of = |reply: &Reply| match reply {
        Reply::Error(line) => Some(line.clone()),
        _ => None,
    };
    match reply {
        Reply::Array(replies) if command.replies > 1 => {
            if replies.iter().all(|reply| line_of(reply).is_some()) || is_aborted(command, replies) {
                replies.iter().find_map(line_of)
            } else {
                None
            }
        }
        reply => line_of(reply),
    }
}

/// Is this an aborted transaction: the server took `MULTI`, and refused `EXEC`?
fn is_aborted(command: &Command, replies: &[Reply]) -> bool {
    command.payload.starts_with(b"*1\r\n$5\r\nMULTI\r\n") && matches!(replies, [Reply::Simple(_), .., Reply::Error(_)])
}

/// Does the packed command run a script?
fn runs_script(payload: &[u8]) -> bool {
    let mut lines = payload.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    lines.nth(2).is_some_and(|name| {
        ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"]
            .iter()
            .any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
    })
}

/// Is `said` a text that the server itself writes about a script whose keys are at `destination`?
fn is_the_servers(said: &[u8], destination: Option<&Destination>) -> bool {
    let Ok(said) = std::str::from_utf8(said) else { return false };
    match said.split(' ').collect::<Vec<_>>()[..] {
        ["MOVED" | "ASK", slot, _] => matches!(destination, Some(Destination::Slot(own)) if slot == own.to_string()),
        // The second word is the name of the server.
        ["LOADING", _, "is", "loading", "the", "dataset", "in", "memory"] => true,
        ["NOSCRIPT" | "TRYAGAIN" | "CLUSTERDOWN", ..] => [
            "NOSCRIPT No matching script. Please use EVAL.",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down",
            "CLUSTERDOWN The cluster is down and only accepts read commands",
            "CLUSTERDOWN Hash slot not served",
        ]
        .contains(&said),
        // Behind these texts the server may name the place in the script.
        _ => [
            "MASTERDOWN Link with MASTER is down",
            "READONLY You can't write against a read only replica",
            "READONLY Can not run script with write flag on readonly replica",
        ]
        .iter()
        .any(|own| said.starts_with(own)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use bytes::BytesMut;

    use super::*;
    use crate::connection::request::Sink;
    use crate::telemetry::{Metrics, Operation};

    fn request(commands: &[&[&[u8]]], script: Option<Script>) -> Request {
        let mut payload = BytesMut::new();
        commands.iter().for_each(|words| resp::pack(&mut payload, words));
        let command = Command {
            replies: u32::try_from(commands.len()).unwrap(),
            script,
            ..Command::raw(payload.freeze(), Operation::named("test"))
        };
        Request::new(command, Sink::Ignored, Instant::now(), Arc::<Metrics>::default())
    }

    fn error(line: &str) -> Reply {
        Reply::Error(Bytes::copy_from_slice(line.as_bytes()))
    }

    fn of(request: &Request, line: &str, in_cluster: bool) -> Option<Refusal> {
        refusal(request, &error(line), in_cluster).map(|refused| refused.refusal)
    }

    #[test]
    fn for_a_command_the_code_of_the_error_decides() {
        let set = request(&[&[b"SET", b"k", b"v"]], None);
        assert_eq!(of(&set, "LOADING any words", false), Some(Refusal::Later));
        assert_eq!(of(&set, "READONLY any words", false), Some(Refusal::Renew));
        assert_eq!(of(&set, "MOVED 1 a:1", true), Some(Refusal::Elsewhere));
        assert_eq!(of(&set, "NOSCRIPT any words", false), None);
        assert_eq!(of(&set, "OOM any words", false), None);
        let demoted = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
        assert_eq!(of(&set, demoted, false), Some(Refusal::Renew));
        assert_eq!(of(&set, demoted, true), Some(Refusal::Renew));
        assert_eq!(of(&set, "UNBLOCKED client unblocked via CLIENT UNBLOCK", false), None);
        assert_eq!(of(&set, "UNBLOCKED the stream key no longer exists", false), None);
    }

    #[test]
    fn for_a_script_only_the_texts_of_the_server_decide() {
        let ours = request(&[&[b"EVALSHA", b"digest", b"0"]], Some(Script::new("return 1")));
        let mut users = request(&[&[b"fcall", b"name", b"1", b"k"]], None);
        users.routing.destination = Some(Destination::Slot(7));
        for (line, expected) in [
            ("NOSCRIPT No matching script. Please use EVAL.", Refusal::Unloaded),
            ("LOADING Redis is loading the dataset in memory", Refusal::Later),
            ("LOADING Valkey is loading the dataset in memory", Refusal::Later),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Refusal::Later),
            ("READONLY You can't write against a read only replica. script: df94, on @user_script:1.", Refusal::Renew),
            (
                "ERR Error running script (call to f_df94): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
                Refusal::Renew,
            ),
        ] {
            assert_eq!(of(&ours, line, false), Some(expected), "{line}");
        }
        assert_eq!(of(&users, "MOVED 7 a:1", true), Some(Refusal::Elsewhere));
        assert_eq!(of(&users, "MOVED 8 a:1", true), None);
        for code in ["NOSCRIPT", "LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY"] {
            for in_cluster in [false, true] {
                assert_eq!(of(&ours, &format!("{code} come later"), in_cluster), None, "{code}");
                assert_eq!(of(&users, code, in_cluster), None, "{code}");
            }
        }
    }

    #[test]
    fn several_commands_are_refused_if_each_was_refused_or_their_transaction_was_aborted() {
        let transaction = request(&[&[b"MULTI"], &[b"INCR", b"k"], &[b"EXEC"]], None);
        let of = |replies| refusal(&transaction, &Reply::Array(replies), false).map(|refused| refused.refusal);
        let (ok, loading, aborted) = (|| Reply::Simple("OK".into()), || error("LOADING x"), || error("EXECABORT x"));
        assert_eq!(of(vec![ok(), loading(), aborted()]), Some(Refusal::Later));
        assert_eq!(of(vec![loading(), loading(), loading()]), Some(Refusal::Later));
        // Without `MULTI` the server has executed the second command on its own.
        assert_eq!(of(vec![loading(), Reply::Int(1), error("ERR EXEC without MULTI")]), None);
    }

    #[test]
    fn a_refusal_from_a_users_script_counts_only_if_the_server_confirms_it() {
        let words: &[&[u8]] = &[b"EVALSHA", b"digest", b"2", b"a", b"b", b"x"];
        let ours = request(&[words], Some(Script::new("return 1")));
        let users = request(&[words], Some(Script::of_user("return 1")));
        let loading = error("LOADING Redis is loading the dataset in memory");
        assert!(!refusal(&ours, &loading, false).unwrap().is_doubtful);
        assert!(refusal(&users, &loading, false).unwrap().is_doubtful);
        assert!(refusal(&request(&[words], None), &loading, false).unwrap().is_doubtful);
        assert!(!refusal(&request(&[&[b"GET", b"a"]], None), &loading, false).unwrap().is_doubtful);

        let asks =
            |request: &Request, refusal| String::from_utf8(question(&request.command, refusal).to_vec()).unwrap();
        assert_eq!(
            asks(&users, Refusal::Later),
            "*6\r\n$4\r\nMSET\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n$0\r\n\r\n$1\r\na\r\n"
        );
        assert!(asks(&users, Refusal::Unloaded).starts_with("*3\r\n$6\r\nSCRIPT\r\n$6\r\nEXISTS\r\n"));
        let without_keys = request(&[&[b"EVAL", b"return 1", b"0"]], None);
        assert!(asks(&without_keys, Refusal::Later).starts_with("*4\r\n$4\r\nMSET\r\n$15\r\nredis-backplane\r\n"));

        let later = |answer: &str| confirms(Refusal::Later, b"LOADING x", &error(answer));
        assert!(later("LOADING x") && later("READONLY x") && later("MASTERDOWN x"));
        assert!(!later("ERR wrong number of arguments for MSET") && !later("OOM x") && !later("NOPERM x"));
        assert!(confirms(Refusal::Elsewhere, b"MOVED 7 a:1", &error("NOPERM x")));
        assert!(!confirms(Refusal::Elsewhere, b"MOVED 7 a:1", &error("ERR x")));
        let known = |is| confirms(Refusal::Unloaded, b"NOSCRIPT x", &Reply::Array(vec![Reply::Int(is)]));
        assert!(known(0) && !known(1));
    }
}
