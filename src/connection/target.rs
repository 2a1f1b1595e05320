//! The target of a connection, and how it is read from a URL.

use serde::{Deserialize, Serialize};
use url::Url;

use super::secret::Secret;
use crate::error::{Error, Result};

/// The server or servers to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp(Address),
    Unix(String),
    /// The embedded engine with this name. `None`, in a URL, is an engine for this manager alone.
    Memory(Option<String>),
    /// The master that these sentinels name.
    Sentinel {
        sentinels: Vec<Address>,
        master: String,
    },
    /// The cluster that these nodes belong to.
    Cluster(Vec<Address>),
}

/// The prefix of the name of an engine for one manager alone.
const PRIVATE: &str = "private-";

impl Target {
    /// An embedded engine for one manager alone.
    pub(super) fn private() -> Self {
        Self::Memory(Some(format!("{PRIVATE}{}", uuid::Uuid::new_v4())))
    }

    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The address of the server, or of the first server that is asked, and its port, if it has one.
    #[must_use]
    pub fn shown(&self) -> (String, Option<u16>) {
        match self {
            Self::Tcp(address) => (address.host.clone(), Some(address.port)),
            Self::Sentinel { sentinels: several, .. } | Self::Cluster(several) => {
                several.first().map_or_else(Default::default, |first| (first.host.clone(), Some(first.port)))
            }
            Self::Unix(path) => (path.clone(), None),
            Self::Memory(name) => {
                let name = name.as_deref().filter(|name| !name.starts_with(PRIVATE)).unwrap_or_default();
                (format!("memory://{name}"), None)
            }
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub target: Target,
    pub tls: bool,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub db: Option<u64>,
}

/// The longest host name in DNS.
const MAX_HOST: usize = 253;
/// The longest path of a Unix socket that the kernel takes, in bytes, without the terminating zero.
pub(super) const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

const FORMS: &str = "a URL such as redis://host:6379/0, rediss://host, redis+unix:///path?db=0, redis+sentinel://host:26379,host:26379/master, redis+cluster://host:6379,host:6379 or memory://name";

/// Reads a URL. Errors do not quote it, because it may hold credentials.
pub(super) fn parse(text: &str) -> Result<Parsed> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(bad("a text without ://"));
    };
    let (form, tls) = form_of(&scheme.to_ascii_lowercase()).ok_or_else(|| bad("an unknown scheme"))?;
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let (user_info, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    // The url crate reads everything but a list of hosts.
    let url = Url::parse(&format!("redis://{}@host{tail}", user_info.unwrap_or_default()))
        .map_err(|_| bad("one that does not parse"))?;
    let decoded = |part: &str| percent_decode(part).ok_or_else(|| bad("credentials that are not UTF-8"));
    let username = Some(url.username()).filter(|name| !name.is_empty()).map(decoded).transpose()?;
    let password = url.password().map(decoded).transpose()?.map(Secret::new);
    let mut db = None;
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => db = Some(value.parse().map_err(|_| bad("a db that is no number"))?),
            _ => return Err(bad("an unknown parameter behind ?")),
        }
    }
    if url.fragment().is_some() {
        return Err(bad("a fragment behind # (write # in a password as %23)"));
    }
    let path = percent_decode(url.path()).ok_or_else(|| bad("a path that is not UTF-8"))?;
    if let Some(empty) = left_empty(form, user_info, hosts, &path) {
        return Err(bad(empty));
    }
    let (target, db_in_path) = target_of(form, hosts, &path)?;
    Ok(Parsed { target, tls, username, password, db: db_in_path.or(db) })
}

fn bad(why: &str) -> Error {
    Error::config(format!("RedisConfig.url: expected {FORMS}, got {why}"))
}

/// The target that the hosts and the path of a URL name, and the database in the path.
fn target_of(form: Form, hosts: &str, path: &str) -> Result<(Target, Option<u64>)> {
    let addresses = |default: u16| -> Result<Vec<Address>> {
        hosts.split(',').map(|host| address(host, default).ok_or_else(|| bad("a host that does not parse"))).collect()
    };
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let target = match form {
        Form::Single => match <[Address; 1]>::try_from(addresses(6379)?) {
            Ok([one]) => Target::Tcp(one),
            Err(_) => return Err(bad("several hosts (use redis+cluster:// or redis+sentinel://)")),
        },
        Form::Unix if !hosts.is_empty() || path.is_empty() || path == "/" => {
            return Err(bad("no path (write three slashes)"));
        }
        Form::Unix if !is_socket_path(path) => {
            return Err(bad(&format!("a path that is not 1 to {MAX_SOCKET_PATH} bytes that are not zero")));
        }
        Form::Unix => return Ok((Target::Unix(path.to_owned()), None)),
        Form::Sentinel => {
            let master = parts.next().map_or_else(|| "mymaster".to_owned(), str::to_owned);
            Target::Sentinel { sentinels: addresses(26379)?, master }
        }
        Form::Cluster => Target::Cluster(addresses(6379)?),
        Form::Memory => {
            let name = percent_decode(hosts).ok_or_else(|| bad("a name that is not UTF-8"))?;
            Target::Memory(Some(name).filter(|name| !name.is_empty()))
        }
    };
    let number = |part: &str| part.parse().map_err(|_| bad("a database behind / that is no number"));
    let db = parts.next().map(number).transpose()?;
    if parts.next().is_some() {
        return Err(bad("too many parts behind /"));
    }
    Ok((target, db))
}

/// The form of a URL with this scheme, and whether the scheme means TLS.
fn form_of(scheme: &str) -> Option<(Form, bool)> {
    Some(match scheme {
        "redis" | "valkey" => (Form::Single, false),
        "rediss" | "valkeys" => (Form::Single, true),
        "redis+unix" | "valkey+unix" | "unix" => (Form::Unix, false),
        "redis+sentinel" | "valkey+sentinel" => (Form::Sentinel, false),
        "rediss+sentinel" | "valkeys+sentinel" => (Form::Sentinel, true),
        "redis+cluster" | "valkey+cluster" => (Form::Cluster, false),
        "rediss+cluster" | "valkeys+cluster" => (Form::Cluster, true),
        "memory" => (Form::Memory, false),
        _ => return None,
    })
}

/// The part of a URL that is empty. Templates with unset variables leave such parts.
fn left_empty(form: Form, user_info: Option<&str>, hosts: &str, path: &str) -> Option<&'static str> {
    let parts = path.strip_prefix('/').unwrap_or(path);
    match user_info {
        Some("" | ":") => return Some("no credentials before @"),
        Some(user) if user.split_once(':').is_some_and(|(_, password)| password.is_empty()) => {
            return Some("an empty password before @");
        }
        _ => {}
    }
    if hosts.is_empty() && !matches!(form, Form::Unix | Form::Memory) {
        return Some("no host");
    }
    if hosts.contains(',') && hosts.split(',').any(str::is_empty) {
        return Some("an empty part in its list of hosts");
    }
    // A slash at the end is allowed, except before the name of a master.
    if parts.split('/').rev().skip(1).any(str::is_empty) && !matches!(form, Form::Unix) {
        return Some("an empty part behind /");
    }
    (matches!(form, Form::Sentinel) && path == "/").then_some("no name of a master behind /")
}

#[derive(Clone, Copy)]
enum Form {
    Single,
    Unix,
    Sentinel,
    Cluster,
    Memory,
}

/// One host of a URL, with or without a port. An empty host or port is refused, because it is an unset variable of a template.
fn address(text: &str, default_port: u16) -> Option<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, behind) = v6.split_once(']')?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            (Some(host).filter(|host| is_ipv6(host))?, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if port.is_some_and(|port| port.bytes().any(|digit| !digit.is_ascii_digit())) {
        return None;
    }
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))?;
    (is_ipv6(host) || is_name(host)).then(|| Address { host: host.to_owned(), port })
}

/// A host with its port.
pub(super) fn host_and_port(text: &str) -> Option<Address> {
    // Port 0 stands for a missing port.
    address(text, 0).filter(|address| address.port != 0)
}

/// Is `host` an IPv6 address, perhaps with a zone behind `%`?
pub(super) fn is_ipv6(host: &str) -> bool {
    host.split('%').next().is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Can `host` be a host name or an IPv4 address?
pub(super) fn is_name(host: &str) -> bool {
    (1..=MAX_HOST).contains(&host.len())
        && !host.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '[' | ']'))
}

/// Can `path` be the path of a Unix socket?
pub(super) fn is_socket_path(path: &str) -> bool {
    (1..=MAX_SOCKET_PATH).contains(&path.len()) && !path.contains('\0')
}

fn percent_decode(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Target {
        Target::Tcp(Address { host: host.into(), port })
    }

    #[test]
    fn every_form_of_url_is_read() {
        for (text, target, tls, db) in [
            ("redis://localhost", tcp("localhost", 6379), false, None),
            ("redis://localhost:7000/3", tcp("localhost", 7000), false, Some(3)),
            ("rediss://[::1]:7000", tcp("::1", 7000), true, None),
            ("redis+unix:///run/redis.sock?db=2", Target::Unix("/run/redis.sock".into()), false, Some(2)),
            ("memory://tests", Target::Memory(Some("tests".into())), false, None),
            ("memory://", Target::Memory(None), false, None),
            (
                "redis+sentinel://a:1,b/main/4",
                Target::Sentinel {
                    sentinels: vec![Address { host: "a".into(), port: 1 }, Address { host: "b".into(), port: 26379 }],
                    master: "main".into(),
                },
                false,
                Some(4),
            ),
            (
                "rediss+cluster://a:1,b:2",
                Target::Cluster(vec![Address { host: "a".into(), port: 1 }, Address { host: "b".into(), port: 2 }]),
                true,
                None,
            ),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!((parsed.target, parsed.tls, parsed.db), (target, tls, db), "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let parsed = parse("redis://us%40er:p%3Aa%2Fss@h").unwrap();
        assert_eq!(parsed.username.as_deref(), Some("us@er"));
        assert_eq!(parsed.password.as_ref().map(Secret::reveal), Some("p:a/ss"));
        let parsed = parse("redis://:only@h").unwrap();
        assert_eq!(parsed.username, None);
        assert_eq!(parsed.password.as_ref().map(Secret::reveal), Some("only"));
    }

    #[test]
    fn a_bad_url_is_refused_without_repeating_it() {
        let long_path = format!("redis+unix:///{}hunter2", "x".repeat(MAX_SOCKET_PATH));
        for text in [
            &long_path,
            "redis+unix:///hunter2%00",
            "redis://",
            "redis:///1",
            "redis://:6379",
            "redis://host:",
            "redis://@host",
            "redis://:@host",
            "redis://user:@host",
            "redis://[::1",
            "redis://[::1]7000",
            "redis://[host]:7000",
            "redis://host//1",
            "redis://host/?db=",
            "redis+sentinel://a:1,,b:2/main",
            "redis+sentinel://a:1,/main",
            "redis+sentinel://a:1/",
            "redis+sentinel://a:1//2",
            "redis+cluster://",
            "redis+cluster://:hunter2@,b:2",
            "redis+unix://",
            "localhost:6379",
            "http://:hunter2@h",
            "redis://:hunter2@h:port",
            "redis://:hunter2@h/x",
            "redis://:hunter2@h/1/2",
            "redis://:hunter2@h?what=1",
            "redis://:hunter2@a,b",
            "redis+unix://:hunter2@",
            "redis://:hunter2@h h",
            "redis://:hunter2@[::1",
            "redis://:hunter2@[::1]7000",
            "redis://:hunter2@[h]:7000",
            "redis://:hunter2@h]:7000",
            "redis://:hunter2@::1:7000",
            "redis://:hunter2@h:+7",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().starts_with("RedisConfig.url: expected a URL"), "{error}");
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }
}
