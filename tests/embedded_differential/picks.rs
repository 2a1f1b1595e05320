//! Random picks, compared by their properties instead of byte for byte: they are members of the collection, have the requested number, and
//! are distinct unless the count is negative.
//!
//! A pick is generated right after a command that shows the whole collection. After an SPOP the rest is deleted, so that the two sides stay
//! equal.

use crate::sides::Args;
use crate::value::Value;

/// Two picks that could have been made from the same collection.
pub(crate) fn alike(real: &Value, engine: &Value) -> bool {
    let shape = |v: &Value| (v.kind, v.items.iter().map(|i| (i.kind, i.items.len())).collect::<Vec<_>>());
    // A bulk is any member; any other reply must be equal.
    shape(real) == shape(engine) && (real.kind == b'$' || real.text == engine.text)
}

/// The elements of a collection with their values (of a hash) or scores (of a sorted set).
fn elements(all: &Value, paired: bool) -> Vec<(&Value, Option<&Value>)> {
    if !paired {
        return all.items.iter().map(|item| (item, None)).collect();
    }
    if all.items.iter().any(|item| item.kind == b'*') {
        return all.items.iter().map(|pair| (&pair.items[0], pair.items.get(1))).collect();
    }
    all.items.chunks(2).map(|pair| (&pair[0], pair.get(1))).collect()
}

/// Can the side's collection `all` have given `got`? Without `all` (a mutation removed it) any reply is possible.
pub(crate) fn possible(command: &Args, all: Option<&Value>, got: &Value) -> bool {
    let name = String::from_utf8_lossy(&command[0]).to_lowercase();
    let Some(all) = all.filter(|all| matches!(all.kind, b'*' | b'~' | b'%')) else {
        return true;
    };
    let known = elements(all, matches!(name.as_str(), "hrandfield" | "zrandmember"));
    let single = command.len() < 3;
    if single {
        return known.is_empty() || known.iter().any(|k| k.0.text == got.text);
    }
    let with = command.len() > 3;
    let picked = elements(got, with);
    let Some(count) = std::str::from_utf8(&command[2]).ok().and_then(|n| n.parse::<i64>().ok()) else {
        return true;
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let expected = match (known.len(), count < 0) {
        (0, _) => 0,
        (_, true) => wanted,
        (n, false) => n.min(wanted),
    };
    let members = picked.iter().all(|p| known.iter().any(|k| k.0.text == p.0.text && (!with || same_text(k.1, p.1))));
    let distinct = (1..picked.len()).all(|i| !picked[..i].iter().any(|p| p.0.text == picked[i].0.text));
    picked.len() == expected && members && (count < 0 || distinct)
}

fn same_text(a: Option<&Value>, b: Option<&Value>) -> bool {
    a.map(|v| &v.text) == b.map(|v| &v.text)
}
