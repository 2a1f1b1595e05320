//! LCS: the longest common subsequence of two strings.

use super::{Args, Cx, int_arg, is};
use crate::embedded::reply::{Fault, Outcome, Reply};

/// The largest table of lengths that Redis allows, in bytes: `proto-max-bulk-len`.
const MAX_TABLE: usize = 512 * 1024 * 1024;

#[derive(Debug, Default)]
struct Query {
    length: bool,
    indexes: bool,
    with_lengths: bool,
    shortest: i64,
}

fn parse(args: Args<'_>) -> Result<Query, Fault> {
    let mut query = Query::default();
    let mut i = 3;
    while i < args.len() {
        match args[i] {
            w if is(w, "idx") => query.indexes = true,
            w if is(w, "len") => query.length = true,
            w if is(w, "withmatchlen") => query.with_lengths = true,
            w if is(w, "minmatchlen") && i + 1 < args.len() => {
                query.shortest = int_arg(args[i + 1])?.max(0);
                i += 1;
            }
            _ => return Err(Fault::SYNTAX),
        }
        i += 1;
    }
    if query.indexes && query.length {
        return Err(Fault::of("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(query)
}

/// A run of bytes of the subsequence: its start in each string, and its length.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

impl Match {
    fn reply(&self, with_length: bool) -> Reply {
        let ends = |from: usize| Reply::Array(vec![Reply::len(from), Reply::len(from + self.len - 1)]);
        let mut parts = vec![ends(self.a), ends(self.b)];
        if with_length {
            parts.push(Reply::len(self.len));
        }
        Reply::Array(parts)
    }
}

/// The subsequence, and its runs, last first.
fn trace(a: &[u8], b: &[u8], length: impl Fn(usize, usize) -> u32) -> (Vec<u8>, Vec<Match>) {
    let (mut i, mut j) = (a.len(), b.len());
    let (mut common, mut matches, mut run) = (Vec::new(), Vec::new(), None::<Match>);
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.push(a[i]);
            let len = run.as_ref().map_or(0, |run| run.len);
            run = Some(Match { a: i, b: j, len: len + 1 });
        } else {
            matches.extend(run.take());
            if length(i - 1, j) > length(i, j - 1) { i -= 1 } else { j -= 1 }
        }
    }
    matches.extend(run);
    common.reverse();
    (common, matches)
}

pub(super) fn lcs(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let mut strings = [Vec::new(), Vec::new()];
    for (text, key) in strings.iter_mut().zip(&args[1..3]) {
        let found = cx.string(key).map_err(|_| Fault::of("ERR The specified keys must contain string values"))?;
        *text = found.map(|s| s.bytes.clone()).unwrap_or_default();
    }
    let query = parse(args)?;
    let [a, b] = strings;
    let width = b.len() + 1;
    let cells = (a.len() + 1).checked_mul(width).filter(|n| n.checked_mul(4).is_some_and(|bytes| bytes <= MAX_TABLE));
    let Some(cells) = cells else {
        return Err(Fault::of("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    };
    let mut table = vec![0u32; cells];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            table[i * width + j] = if a[i - 1] == b[j - 1] {
                table[(i - 1) * width + j - 1] + 1
            } else {
                table[(i - 1) * width + j].max(table[i * width + j - 1])
            };
        }
    }
    let length = Reply::Int(i64::from(table[cells - 1]));
    if query.length {
        return Ok(length);
    }
    let (common, matches) = trace(&a, &b, |i, j| table[i * width + j]);
    if !query.indexes {
        return Ok(Reply::Bulk(common));
    }
    let long_enough = |m: &&Match| i64::try_from(m.len).unwrap_or(i64::MAX) >= query.shortest;
    let matches = matches.iter().filter(long_enough).map(|m| m.reply(query.with_lengths)).collect();
    Ok(Reply::Map(vec![Reply::bulk("matches"), Reply::Array(matches), Reply::bulk("len"), length]))
}
