//! A command and its bytes. Also the properties of a user's command: whether it may be sent twice, whether it blocks, and whether a
//! shared connection can carry it.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::script::Script;
use crate::error::{Error, Result};
use crate::redis_commands::{self, Sharing, TABLE, Timeout, flag};
use crate::resp;
use crate::telemetry::Operation;

/// The bytes of a command, and the command's properties.
#[derive(Clone, Debug)]
pub struct Command {
    /// One or more packed commands.
    pub payload: Bytes,
    /// How many replies the server sends. Several replies are given to the caller as one array.
    pub replies: u32,
    /// May the command be sent again when it is unknown whether it was executed?
    pub safe: bool,
    pub operation: Operation,
    /// The script of an `EVALSHA`. It is loaded where the server does not know it.
    pub script: Option<Script>,
}

impl Command {
    /// One packed command that may write.
    #[must_use]
    pub fn raw(payload: Bytes, operation: Operation) -> Self {
        Self { payload, replies: 1, safe: false, operation, script: None }
    }

    /// The same command, marked as one that only reads.
    #[must_use]
    pub fn reading(self) -> Self {
        Self { safe: true, ..self }
    }

    /// The same command, marked as one that calls `script` by its digest.
    #[must_use]
    pub fn calling(self, script: Script) -> Self {
        Self { script: Some(script), ..self }
    }

    /// The command as error messages name it: the name of the command, and the operation where that is another name. Arguments are
    /// not shown, because they may be secret.
    #[must_use]
    pub fn shown(&self) -> String {
        let operation = self.operation.name();
        let name = resp::unpack(&self.payload).and_then(|(words, _)| String::from_utf8(words.first()?.to_vec()).ok());
        match name.map(|name| name.to_uppercase()) {
            Some(name) if name == operation => format!("`{name}`"),
            Some(name) => format!("`{name}` of {operation}"),
            None => operation.to_owned(),
        }
    }
}

/// The properties of a command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub operation: Operation,
    row: Option<&'static redis_commands::Spec>,
}

/// Which connection a command is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// The shared connection.
    Shared,
    /// A connection of its own, for at most this long; `None` is until the connection ends.
    Own(Option<Duration>),
}

/// The operation of each row of the table. A subcommand has the operation of its command.
static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let mut operations: Vec<Operation> = Vec::with_capacity(TABLE.len());
    for spec in &TABLE {
        let of_command = spec.name.split_once('|').and_then(|(command, _)| redis_commands::named(command.as_bytes()));
        let operation = match of_command.and_then(|command| operations.get(usize::from(command.number))) {
            Some(operation) => *operation,
            // The names of operations live as long as the process.
            None => Operation::named(spec.name.to_ascii_uppercase().leak()),
        };
        operations.push(operation);
    }
    operations
});

static OTHER: LazyLock<Operation> = LazyLock::new(|| Operation::named("other"));

/// The names of all commands that a shared connection takes, in capitals, in no order.
pub fn names() -> impl Iterator<Item = &'static str> {
    let taken = TABLE.iter().filter(|spec| !spec.is_subcommand() && !matches!(spec.sharing, Sharing::Refused(_)));
    taken.map(|spec| OPERATIONS[usize::from(spec.number)].name())
}

/// The properties of the command that `words` start with, in any case of letters.
#[must_use]
pub fn spec(words: &[&[u8]]) -> Spec {
    let row = redis_commands::find(words);
    let operation = row.map_or_else(|| *OTHER, |row| OPERATIONS[usize::from(row.number)]);
    Spec { operation, row }
}

impl Spec {
    fn sharing(&self) -> Sharing {
        self.row.map_or(Sharing::Shared, |row| row.sharing)
    }

    /// May the command be sent twice with these `args`, because it only reads? An `XREAD` from `$` or `+` may not: the second
    /// one would miss the entries in between.
    #[must_use]
    pub fn is_safe(&self, args: &[&[u8]]) -> bool {
        match self.row {
            Some(row) if row.has(flag::READ | flag::REPEATABLE) => {
                !row.has(flag::BLOCKING) || !args.iter().any(|arg| matches!(arg, [b'$' | b'+']))
            }
            _ => false,
        }
    }

    /// Which connection the command `name` with `args` is sent on.
    ///
    /// # Errors
    ///
    /// `config` for a command that would change or end a shared connection, and for a timeout that is no number.
    pub fn dispatch(&self, name: &[u8], args: &[&[u8]], longest: Duration) -> Result<Dispatch> {
        let name = || String::from_utf8_lossy(name).to_uppercase();
        match self.sharing() {
            Sharing::Shared => Ok(Dispatch::Shared),
            Sharing::Refused(why) => Err(self.refusal(why)),
            Sharing::Waits => {
                // The command is about the writes of its own connection, so it cannot go on another one.
                let timeout = args.last().and_then(|arg| number(arg)).map(|ms| ms / 1e3);
                match timeout {
                    Some(seconds) if seconds > 0.0 && seconds < longest.as_secs_f64() => Ok(Dispatch::Shared),
                    _ => Err(Error::config(format!(
                        "{}: expected a timeout above 0 and below commandTimeoutMs, {}, because it holds up the shared connection",
                        name(),
                        longest.as_millis()
                    ))),
                }
            }
            Sharing::Alone(place) => blocks_for(name, args, place),
        }
    }

    fn refusal(&self, why: &str) -> Error {
        let name = self.row.map_or("", |row| row.name).to_uppercase();
        let (name, what) = match name.split_once('|') {
            Some((command, subcommand)) => (format!("{command} {subcommand}"), "subcommand"),
            None => (name, "command"),
        };
        Error::config(format!("{name}: expected another {what}, got one that is not for a shared connection: {why}"))
    }
}

fn blocks_for(name: impl Fn() -> String, args: &[&[u8]], place: Timeout) -> Result<Dispatch> {
    let (timeout, unit) = match place {
        Timeout::LastSeconds => (args.last(), 1.0),
        Timeout::FirstSeconds => (args.first(), 1.0),
        Timeout::BlockOption => match block_option(args) {
            Some(at) => (args.get(at + 1), 1e-3),
            None => return Ok(Dispatch::Shared),
        },
    };
    let seconds = timeout.and_then(|arg| number(arg)).map(|n| n * unit);
    match seconds {
        Some(0.0) => Ok(Dispatch::Own(None)),
        Some(seconds) if seconds > 0.0 && seconds <= 1e7 => Ok(Dispatch::Own(Some(Duration::from_secs_f64(seconds)))),
        _ => Err(Error::config(format!("{}: expected a timeout from 0 on, got something else", name()))),
    }
}

/// A packed blocking command, with `left` as its timeout: at least a millisecond, because 0 means forever. `None` where the
/// command does not block.
#[must_use]
pub fn with_timeout(packed: &[u8], left: Duration) -> Option<Bytes> {
    let (mut words, _) = resp::unpack(packed)?;
    let args = words.get(1..)?;
    let Sharing::Alone(place) = spec(&words).sharing() else { return None };
    let at = match place {
        Timeout::LastSeconds => args.len(),
        Timeout::FirstSeconds => 1,
        Timeout::BlockOption => block_option(args)? + 2,
    };
    let millis = left.as_millis().max(1);
    let text = match place {
        Timeout::LastSeconds | Timeout::FirstSeconds => format!("{}.{:03}", millis / 1000, millis % 1000),
        Timeout::BlockOption => millis.to_string(),
    };
    *words.get_mut(at)? = text.as_bytes();
    let mut out = BytesMut::with_capacity(packed.len() + text.len());
    resp::pack(&mut out, &words);
    Some(out.freeze())
}

/// The index of the option `BLOCK` of `XREAD` or `XREADGROUP`. A group, a consumer or a stream may have the name `BLOCK` too.
fn block_option(args: &[&[u8]]) -> Option<usize> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        at += match () {
            () if is("BLOCK") => return Some(at),
            () if is("STREAMS") => return None,
            () if is("GROUP") => 3,
            () if is("COUNT") || is("CLAIM") => 2,
            () => 1,
        };
    }
    None
}

fn number(arg: &[u8]) -> Option<f64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch(words: &[&str]) -> Result<Dispatch> {
        let args: Vec<&[u8]> = words[1..].iter().map(|word| word.as_bytes()).collect();
        let all: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        spec(&all).dispatch(all[0], &args, Duration::from_secs(5))
    }

    #[test]
    fn blocking_commands_get_a_connection_of_their_own_for_as_long_as_they_say() {
        assert_eq!(dispatch(&["blpop", "k", "1.5"]).unwrap(), Dispatch::Own(Some(Duration::from_millis(1500))));
        assert_eq!(dispatch(&["BLMPOP", "2", "1", "k", "LEFT"]).unwrap(), Dispatch::Own(Some(Duration::from_secs(2))));
        assert_eq!(
            dispatch(&["XREAD", "block", "100", "STREAMS", "s", "$"]).unwrap(),
            Dispatch::Own(Some(Duration::from_millis(100)))
        );
        assert_eq!(dispatch(&["XREAD", "STREAMS", "s", "0"]).unwrap(), Dispatch::Shared);
        assert_eq!(dispatch(&["XREAD", "STREAMS", "block", "0"]).unwrap(), Dispatch::Shared);
        assert_eq!(
            dispatch(&["XREADGROUP", "GROUP", "block", "block", "STREAMS", "s", ">"]).unwrap(),
            Dispatch::Shared
        );
        assert_eq!(
            dispatch(&["XREADGROUP", "GROUP", "block", "c", "COUNT", "1", "BLOCK", "0", "STREAMS", "block", ">"])
                .unwrap(),
            Dispatch::Own(None)
        );
        assert_eq!(dispatch(&["BRPOP", "k", "0"]).unwrap(), Dispatch::Own(None));
        assert!(dispatch(&["BLPOP", "k", "soon"]).is_err());
    }

    #[test]
    fn a_blocking_command_that_is_sent_again_blocks_for_the_rest_of_its_timeout() {
        let rest = |words: &[&str], left| {
            let mut packed = BytesMut::new();
            resp::pack(&mut packed, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
            let rest = with_timeout(&packed, Duration::from_micros(left))?;
            let (words, _) = resp::unpack(&rest)?;
            Some(words.into_iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(rest(&["BLPOP", "k", "5"], 1_250_000).unwrap(), "BLPOP k 1.250");
        assert_eq!(rest(&["BLPOP", "k", "5"], 10).unwrap(), "BLPOP k 0.001");
        assert_eq!(rest(&["bzmpop", "5", "1", "k", "MIN"], 12_003_000).unwrap(), "bzmpop 12.003 1 k MIN");
        let read = ["XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS", "s", "$"];
        assert_eq!(rest(&read, 70_000).unwrap(), "XREAD COUNT 1 BLOCK 70 STREAMS s $");
        assert_eq!(rest(&["XREAD", "STREAMS", "s", "$"], 70_000), None);
        assert_eq!(rest(&["GET", "k"], 70_000), None);
    }

    #[test]
    fn commands_that_would_change_a_shared_connection_are_refused() {
        for words in [
            &["SUBSCRIBE", "c"][..],
            &["multi"],
            &["SELECT", "1"],
            &["CLIENT", "reply", "OFF"],
            &["CLIENT", "Caching", "YES"],
            &["client", "no-evict", "ON"],
            &["CLIENT", "SETNAME", "another"],
            &["CLIENT", "SETINFO", "LIB-NAME", "another"],
            &["readonly"],
            &["READWRITE"],
            &["DISCARD"],
            &["ASKING"],
            &["REPLCONF", "ACK", "1"],
            &["SCRIPT", "debug", "YES"],
            &["QUIT"],
            &["WAIT", "1", "0"],
        ] {
            let error = dispatch(words).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Config, "{words:?}");
        }
    }

    fn is_safe(line: &str) -> bool {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        spec(&words).is_safe(&words[1..])
    }

    #[test]
    fn only_reads_are_safe_to_send_again() {
        for line in [
            "get k",
            "XREAD BLOCK 0 STREAMS s 1-1",
            "PING $",
            "TOUCH k",
            "HTTL k FIELDS 1 f",
            "HPTTL k FIELDS 1 f",
            "HEXPIRETIME k FIELDS 1 f",
            "OBJECT ENCODING k",
            "XINFO STREAM k",
        ] {
            assert!(is_safe(line), "{line}");
        }
        for line in [
            "XREAD BLOCK 0 STREAMS s $",
            "SET k v",
            "INCR k",
            "EVAL text 0",
            "XREADGROUP GROUP g c STREAMS s 0",
            "BLPOP k 0",
            "HGETEX k PERSIST FIELDS 1 f",
            "CONFIG GET k",
            "NO-SUCH-COMMAND",
            "A-NAME-THAT-IS-LONGER-THAN-THAT-OF-ANY-COMMAND",
        ] {
            assert!(!is_safe(line), "{line}");
        }
    }

    #[test]
    fn an_error_names_the_command_and_the_operation_and_no_argument() {
        let shown = |words: &[&[u8]], operation| {
            let mut packed = BytesMut::new();
            resp::pack(&mut packed, words);
            Command::raw(packed.freeze(), Operation::named(operation)).shown()
        };
        assert_eq!(shown(&[b"get", b"secret"], "GET"), "`GET`");
        assert_eq!(shown(&[b"EVALSHA", b"digest", b"0"], "kv.lock"), "`EVALSHA` of kv.lock");
        assert_eq!(Command::raw(Bytes::new(), Operation::named("kv.get")).shown(), "kv.get");
    }

    #[test]
    fn a_subcommand_counts_as_its_command_and_an_unknown_command_as_other() {
        let operation = |line: &str| spec(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()).operation.name();
        assert_eq!(operation("client list"), "CLIENT");
        assert_eq!(operation("HGETEX k"), "HGETEX");
        assert_eq!(operation("NO-SUCH-COMMAND"), "other");
    }
}
