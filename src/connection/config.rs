//! The configuration of a manager: read once from the user's options, with every default and range in one place.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::secret::{Password, Secret};
use super::target::{self, Address, Target};
use super::tls::Tls;
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::keys::Namespace;
use crate::options::{Options, describe, secret_text};

/// The kernel's `TCP_KEEPIDLE` is at most 32 767 seconds.
const MAX_KEEP_ALIVE_MS: f64 = 32_767_000.0;

/// The configuration of one manager. `Debug` shows no secret: [`Password`] and [`Secret`] redact their texts.
#[derive(Clone, Debug)]
pub struct Config {
    pub target: Target,
    pub tls: Option<Tls>,
    /// For each address that a cluster or sentinels announce: the address to connect to.
    pub address_map: HashMap<Address, Address>,
    pub username: Option<String>,
    pub password: Password,
    /// For the sentinels; `username` and `password` are for the servers that the sentinels watch.
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<Secret>,
    pub db: u64,
    /// The constructor does no I/O; first use connects. Default true.
    pub lazy_connect: bool,
    /// The limit of one attempt: name resolution, TCP, TLS, password function and handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// Further attempts of the first connect. Default 0.
    pub connect_retries: u32,
    /// The limit of a command, from the call to its answer. Default 5 s.
    pub command_timeout: Duration,
    /// Default 50 ms … 2 s.
    pub reconnect: Backoff,
    /// Attempts to restore a lost connection; `None`, the default, is endless.
    pub reconnect_attempts: Option<u32>,
    /// After this silence a peer gets a `PING`. After almost twice this time it counts as dead. Default 10 s.
    pub keep_alive: Duration,
    /// Default 100 000.
    pub max_pending_commands: u64,
    /// Default 256 MiB.
    pub max_pending_bytes: u64,
    /// The limit of one reply: its bytes, and the memory for each element. Default 1 GiB.
    pub max_reply_bytes: usize,
    /// The limit of a graceful end. Default 5 s.
    pub close_timeout: Duration,
    pub client_name: String,
    pub namespace: Namespace,
}

impl Config {
    /// The address to connect to for the announced `address`.
    #[must_use]
    pub fn reachable<'a>(&'a self, address: &'a Address) -> &'a Address {
        self.address_map.get(address).unwrap_or(address)
    }

    /// Reads the JSON of a `RedisConfig`. A password function is written as `{"$": "a function"}`. Then the caller sets the
    /// [`PasswordSource`](super::secret::PasswordSource) afterwards.
    pub fn parse(json: &str) -> Result<(Self, AskPassword)> {
        let mut options = Options::parse("RedisConfig", json)?;
        let url = options.secret("url")?.map(|url| target::parse(&url)).transpose()?;
        let tls = read_tls(&mut options, url.as_ref().is_some_and(|url| url.tls))?;
        let target = read_target(&mut options, url.as_ref().map(|url| &url.target))?;
        let (url_username, url_password, url_db) =
            url.map_or((None, None, None), |url| (url.username, url.password, url.db));
        let username = options.text("username")?.or(url_username);
        let (password, ask) = read_password(&mut options, url_password)?;
        if username.is_some() && matches!(password, Password::None) && ask == AskPassword::No {
            return Err(Error::config("RedisConfig.password: expected the password of RedisConfig.username, got none"));
        }
        let (sentinel_username, sentinel_password) = read_sentinel(&mut options, &target)?;
        let address_map = read_address_map(&mut options, &target)?;
        let db = options.whole("db", 0..=1_000_000)?.or(url_db).unwrap_or(0);
        if db != 0 && matches!(target, Target::Cluster(_)) {
            return Err(Error::config(format!("RedisConfig.db: expected 0, the only database of a cluster, got {db}")));
        }
        let mut reconnect =
            options.nested("reconnect")?.unwrap_or(Options::from_value("RedisConfig.reconnect", Value::Null)?);
        let min = reconnect.millis("minDelayMs", 1)?.unwrap_or(Duration::from_millis(50));
        let max = reconnect.millis("maxDelayMs", 1)?.unwrap_or(Duration::from_secs(2).max(min));
        if max < min {
            return Err(Error::config(format!(
                "RedisConfig.reconnect.maxDelayMs: expected at least minDelayMs, {}, got {}",
                min.as_millis(),
                max.as_millis()
            )));
        }
        let reconnect_attempts = reconnect.whole("maxAttempts", 1..=1_000_000_000)?.map(small);
        reconnect.finish()?;
        let config = Self {
            target,
            tls,
            address_map,
            username,
            password,
            sentinel_username,
            sentinel_password,
            db,
            lazy_connect: options.flag("lazyConnect")?.unwrap_or(true),
            connect_timeout: options.millis("connectTimeoutMs", 1)?.unwrap_or(Duration::from_secs(10)),
            connect_retries: options.whole("connectRetries", 0..=1_000_000)?.map_or(0, small),
            command_timeout: options.millis("commandTimeoutMs", 1)?.unwrap_or(Duration::from_secs(5)),
            reconnect: Backoff { min, max },
            reconnect_attempts,
            keep_alive: options.millis_to("keepAliveMs", 10, MAX_KEEP_ALIVE_MS)?.unwrap_or(Duration::from_secs(10)),
            max_pending_commands: options.whole("maxPendingCommands", 1..=100_000_000)?.unwrap_or(100_000),
            max_pending_bytes: options.whole("maxPendingBytes", 1024..=1 << 40)?.unwrap_or(256 << 20),
            max_reply_bytes: options
                .whole("maxReplyBytes", 64 * 1024..=1 << 40)?
                .map_or(1 << 30, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            close_timeout: options.millis("closeTimeoutMs", 0)?.unwrap_or(Duration::from_secs(5)),
            client_name: read_client_name(&mut options)?,
            namespace: read_namespace(&mut options)?,
        };
        options.finish()?;
        Ok((config, ask))
    }

    /// The password that is sent to sentinels, to be hidden in their replies.
    pub(super) fn sentinel_secret(&self) -> Option<Bytes> {
        self.sentinel_password.as_ref().map(|password| Bytes::copy_from_slice(password.reveal().as_bytes()))
    }
}

/// Is the password a function?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskPassword {
    No,
    Yes,
}

/// Reads option `namespace`, of a manager or of a feature on it.
pub fn read_namespace(options: &mut Options) -> Result<Namespace> {
    let name = options.text("namespace")?.unwrap_or_default();
    if name.len() > 512 || name.contains(|c: char| c.is_control()) || name.starts_with('~') {
        return Err(options.wrong(
            "namespace",
            "at most 512 bytes without control characters, not beginning with ~",
            &Value::String(name),
        ));
    }
    Ok(Namespace::NONE.join(&name))
}

fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn read_tls(options: &mut Options, by_url: bool) -> Result<Option<Tls>> {
    match options.take("tls") {
        None if by_url => Tls::standard().map(Some),
        None => Ok(None),
        Some(Value::Bool(true)) => Tls::standard().map(Some),
        Some(Value::Bool(false)) if by_url => {
            Err(Error::config("RedisConfig.tls: expected true, as RedisConfig.url says, got false"))
        }
        Some(Value::Bool(false)) => Ok(None),
        Some(object @ Value::Object(_)) => Tls::from_options(Options::from_value("RedisConfig.tls", object)?).map(Some),
        Some(other) => Err(options.wrong("tls", "true, false or an object", &other)),
    }
}

fn read_target(options: &mut Options, by_url: Option<&Target>) -> Result<Target> {
    let host = options.text("host")?;
    let port = options.whole("port", 1..=65_535)?;
    let path = options.text("path")?;
    if let Some(target) = by_url {
        for (name, given) in [("host", host.is_some()), ("port", port.is_some()), ("path", path.is_some())] {
            if given {
                return Err(Error::config(format!(
                    "RedisConfig.{name}: expected nothing beside RedisConfig.url, got a value"
                )));
            }
        }
        return Ok(match target {
            // All connections of one manager reach the same engine, and no other manager reaches it.
            Target::Memory(None) => Target::private(),
            target => target.clone(),
        });
    }
    if let Some(path) = path {
        if host.is_some() || port.is_some() {
            return Err(Error::config(
                "RedisConfig.path: expected nothing beside RedisConfig.host or port, got a value",
            ));
        }
        if !target::is_socket_path(&path) {
            let expected =
                format!("the path of a Unix socket, 1 to {} bytes that are not zero", target::MAX_SOCKET_PATH);
            return Err(options.wrong("path", &expected, &Value::String(path)));
        }
        return Ok(Target::Unix(path));
    }
    let host = host.map_or_else(|| Ok("127.0.0.1".into()), |host| read_host(options, &host))?;
    let port = u16::try_from(port.unwrap_or(6379)).unwrap_or(6379);
    Ok(Target::Tcp(Address { host, port }))
}

/// A host without a port. An IPv6 address may be in brackets.
fn read_host(options: &Options, host: &str) -> Result<String> {
    // The error does not quote the host, because it may hold a password.
    let wrong =
        |got: &str| Err(Error::config(format!("RedisConfig.host: expected a host's name or address, got {got}")));
    if host.contains(['/', '@', '?', '#']) {
        return wrong("what may be a URL: that is RedisConfig.url");
    }
    if host.contains(',') {
        return wrong("several: they are in a RedisConfig.url of redis+sentinel:// or redis+cluster://");
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if target::is_ipv6(bare) {
        return Ok(bare.to_owned());
    }
    if host.contains(':') {
        return wrong("one with a port: that is RedisConfig.port");
    }
    if !target::is_name(host) {
        return Err(options.wrong("host", "a host name or an address", &Value::String(host.to_owned())));
    }
    Ok(host.to_owned())
}

fn read_password(options: &mut Options, by_url: Option<Secret>) -> Result<(Password, AskPassword)> {
    let fixed = |secret: Option<Secret>| secret.map_or(Password::None, Password::Fixed);
    let Some(value) = options.take("password") else {
        return Ok((fixed(by_url), AskPassword::No));
    };
    if value.get("$").is_some_and(|what| what == "a function") {
        return Ok((Password::None, AskPassword::Yes));
    }
    let text = secret_text(&value).map_err(|got| {
        Error::config(format!(
            "RedisConfig.password: expected a string, its bytes in UTF-8 or a function that gives them, got {got}"
        ))
    })?;
    Ok((fixed(Some(Secret::new(text)).filter(|secret| !secret.reveal().is_empty())), AskPassword::No))
}

/// Reads `addressMap`, for the addresses that a cluster or sentinels announce.
fn read_address_map(options: &mut Options, target: &Target) -> Result<HashMap<Address, Address>> {
    let Some(value) = options.take("addressMap") else {
        return Ok(HashMap::new());
    };
    if !matches!(target, Target::Sentinel { .. } | Target::Cluster(_)) {
        return Err(Error::config(
            "RedisConfig.addressMap: expected nothing without a RedisConfig.url of redis+sentinel:// or redis+cluster://, \
             got a value",
        ));
    }
    let expected = "an object of hosts with ports, such as { \"10.0.0.1:7000\": \"redis.example:17000\" }";
    let wrong = |what: &str| Err(Error::config(format!("RedisConfig.addressMap: expected {expected}, got {what}")));
    let Value::Object(entries) = &value else {
        return wrong(&describe(&value));
    };
    if entries.contains_key("$") {
        return wrong(&describe(&value));
    }
    let mut map = HashMap::with_capacity(entries.len());
    for (announced, reachable) in entries {
        let Some(from) = target::host_and_port(announced) else {
            return wrong("a name without a host or a port");
        };
        let Some(to) = reachable.as_str().and_then(target::host_and_port) else {
            let came =
                if reachable.is_string() { "one without a host or a port".to_owned() } else { describe(reachable) };
            return Err(Error::config(format!(
                "RedisConfig.addressMap: {from}: expected a host and a port, such as redis.example:17000, got {came}"
            )));
        };
        map.insert(from, to);
    }
    Ok(map)
}

fn read_sentinel(options: &mut Options, target: &Target) -> Result<(Option<String>, Option<Secret>)> {
    let username = options.text("sentinelUsername")?;
    let password = options.secret("sentinelPassword")?;
    let sentinels = matches!(target, Target::Sentinel { .. });
    for (name, given) in [("sentinelUsername", username.is_some()), ("sentinelPassword", password.is_some())] {
        if given && !sentinels {
            return Err(Error::config(format!(
                "RedisConfig.{name}: expected nothing without a RedisConfig.url of redis+sentinel://, got a value"
            )));
        }
    }
    if username.is_some() && password.is_none() {
        return Err(Error::config(
            "RedisConfig.sentinelPassword: expected the password of RedisConfig.sentinelUsername, got none",
        ));
    }
    Ok((username, password.filter(|text| !text.is_empty()).map(Secret::new)))
}

fn read_client_name(options: &mut Options) -> Result<String> {
    let name = options.text("clientName")?.unwrap_or_else(|| "redis-backplane".into());
    if name.is_empty() || name.len() > 256 || !name.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
        return Err(options.wrong(
            "clientName",
            "1 to 256 printable ASCII characters without spaces",
            &Value::String(name),
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        Config::parse(json).unwrap_err().to_string()
    }

    #[test]
    fn without_options_the_target_is_the_local_server() {
        let (config, ask) = Config::parse("{}").unwrap();
        assert_eq!(config.target, Target::Tcp(Address { host: "127.0.0.1".into(), port: 6379 }));
        assert_eq!(config.command_timeout, Duration::from_secs(5));
        assert_eq!(ask, AskPassword::No);
    }

    #[test]
    fn contradicting_options_are_refused() {
        assert!(refused(r#"{"url":"redis://h","host":"x"}"#).starts_with("RedisConfig.host:"));
        assert!(refused(r#"{"path":"/s","port":1}"#).starts_with("RedisConfig.path:"));
        assert!(refused(r#"{"url":"redis+cluster://h","db":1}"#).starts_with("RedisConfig.db:"));
        assert!(refused(r#"{"username":"u"}"#).starts_with("RedisConfig.password:"));
        assert!(
            refused(r#"{"reconnect":{"minDelayMs":9,"maxDelayMs":3}}"#)
                .starts_with("RedisConfig.reconnect.maxDelayMs:")
        );
        assert!(refused(r#"{"sentinelPassword":"p"}"#).starts_with("RedisConfig.sentinelPassword:"));
        assert!(
            refused(r#"{"url":"redis+sentinel://h","sentinelUsername":"u"}"#)
                .starts_with("RedisConfig.sentinelPassword:")
        );
        assert!(refused(r#"{"url":"rediss://h","tls":false}"#).starts_with("RedisConfig.tls:"));
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        for json in [
            r#"{"url":"redis://u:hunter2@h"}"#,
            r#"{"url":"redis+sentinel://u:hunter2@h","sentinelUsername":"s","sentinelPassword":"hunter2"}"#,
        ] {
            let (config, _) = Config::parse(json).unwrap();
            assert!(!format!("{config:?}").contains("hunter2"));
        }
    }
}
