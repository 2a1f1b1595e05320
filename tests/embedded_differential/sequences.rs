//! One client: whole sequences are sent to both sides at once, and their replies are compared one by one.

use crate::allowed::same;
use crate::sides::{Args, Connection, Server, command, encode, engine};
use crate::value::Value;

/// Commands that only make sense together.
pub(crate) type Unit = Vec<Args>;

/// Both sides under test.
pub(crate) struct Pair {
    server: Server,
}

const MARK: &[u8] = b"--end of the sequence--";

impl Pair {
    pub(crate) fn start(number: u64) -> Pair {
        Pair { server: Server::start(&number.to_string()) }
    }

    /// A sequence with commands that mark its start and its end.
    fn framed(commands: &[Args]) -> Vec<u8> {
        let mut all = vec![command("FLUSHALL")];
        all.extend_from_slice(commands);
        all.push(command("RESET"));
        all.push(vec![b"ECHO".to_vec(), MARK.to_vec()]);
        encode(&all)
    }

    fn replies(mut to: Connection, commands: &[Args]) -> Vec<Value> {
        to.send(&Self::framed(commands));
        std::iter::from_fn(|| to.reply()).take_while(|value| value.kind != b'$' || value.text != MARK).collect()
    }

    /// The first reply that differs: its index and both sides.
    pub(crate) fn difference(&self, units: &[Unit]) -> Option<(usize, String, String)> {
        let commands = units.concat();
        let expected = Self::replies(self.server.connect(), &commands);
        let got = Self::replies(engine(None), &commands);
        let starts: Vec<usize> =
            units.iter().scan(0, |at, unit| Some(std::mem::replace(at, *at + unit.len()))).collect();
        let mut queued: Vec<&Args> = Vec::new();
        for (i, command) in commands.iter().enumerate() {
            let (Some(a), Some(b)) = (expected.get(i + 1), got.get(i + 1)) else {
                return Some((i, format!("{} replies", expected.len()), format!("{} replies", got.len())));
            };
            let before = (!starts.contains(&i)).then(|| (&expected[i], &got[i]));
            let alike = if command[0].eq_ignore_ascii_case(b"exec") && a.items.len() == queued.len() {
                same_lists(&queued, a, b)
            } else {
                same(command, before, a, b)
            };
            if !alike {
                return Some((i, a.shown(), b.shown()));
            }
            match (a.kind, a.text.as_slice()) {
                (b'+', b"QUEUED") => queued.push(command),
                _ => queued.retain(|_| !ends_transaction(command)),
            }
        }
        let rest = commands.len() + 1;
        let (a, b) = (&expected[rest.min(expected.len())..], &got[rest.min(got.len())..]);
        (a != b).then(|| (commands.len(), format!("{a:?}"), format!("{b:?}")))
    }
}

fn ends_transaction(command: &Args) -> bool {
    ["exec", "discard", "reset"].iter().any(|word| command[0].eq_ignore_ascii_case(word.as_bytes()))
}

/// The replies of EXEC, each by the rule of its command.
fn same_lists(commands: &[&Args], a: &Value, b: &Value) -> bool {
    a.kind == b.kind
        && a.items.len() == b.items.len()
        && commands.iter().zip(a.items.iter().zip(&b.items)).all(|(command, (a, b))| same(command, None, a, b))
}

/// Removes the steps that are not needed for `still_differs`.
pub(crate) fn shrink<T: Clone>(steps: &[T], still_differs: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut steps = steps.to_vec();
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..at + size);
            if still_differs(&fewer) {
                steps = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}

pub(crate) fn shown(args: &Args) -> String {
    let words: Vec<String> = args.iter().map(|a| format!("\"{}\"", a.escape_ascii())).collect();
    words.join(" ")
}
