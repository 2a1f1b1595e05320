//! What a server says of itself, in the reply to `HELLO` and in the text of `INFO`.

use crate::resp::Reply;

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// `redis`, `valkey`, …
    pub kind: String,
    pub version: String,
    /// `master` or `replica`.
    pub role: String,
    /// 3, or 2 where the server refuses `HELLO`.
    pub protocol: u8,
}

/// Reads the reply of `HELLO`.
pub(in crate::connection) fn describe(reply: &Reply) -> ServerInfo {
    let mut info = ServerInfo { kind: "redis".into(), version: "unknown".into(), role: "master".into(), protocol: 2 };
    let pairs: Vec<(&Reply, &Reply)> = match reply {
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        Reply::Array(items) => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => Vec::new(),
    };
    for (key, value) in pairs {
        let (Reply::Bulk(key) | Reply::Simple(key), Reply::Bulk(value) | Reply::Simple(value)) = (key, value) else {
            continue;
        };
        let value = String::from_utf8_lossy(value).into_owned();
        match &key[..] {
            b"server" => info.kind = value,
            b"version" => info.version = value,
            b"role" => info.role = value,
            _ => {}
        }
    }
    info
}

/// A field of the text of `INFO` or `CLUSTER INFO`.
pub(in crate::connection) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| *field == name)
        .map(|(_, value)| value.trim())
}
