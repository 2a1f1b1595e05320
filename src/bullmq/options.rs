//! The configuration of a manager as options of ioredis, for versions of `BullMQ` that open their own connections.

use serde_json::{Map, Value, json};

use crate::connection::secret::{Password, Secret};
use crate::connection::tls::TlsOptions;
use crate::connection::{Config, Target};
use crate::error::{Error, Result};

/// The options, with the password in plain text, because ioredis needs it.
///
/// # Errors
///
/// `config` where ioredis has no such options: for an embedded engine, a cluster, and a password function.
pub fn ioredis_options(config: &Config) -> Result<Value> {
    let mut options = Map::new();
    let mut put = |name: &str, value: Value| drop(options.insert(name.to_owned(), value));
    let tls = config.tls.as_ref().map(|tls| tls_options(&tls.given));
    match &config.target {
        Target::Tcp(address) => {
            put("host", json!(address.host));
            put("port", json!(address.port));
        }
        Target::Unix(path) => put("path", json!(path)),
        Target::Sentinel { sentinels, master } => {
            let list = sentinels.iter().map(|address| json!({ "host": address.host, "port": address.port }));
            put("sentinels", list.collect());
            put("name", json!(master));
            if !config.address_map.is_empty() {
                put("natMap", nat_map(config));
            }
            put_secret(&mut put, "sentinelPassword", config.sentinel_password.as_ref());
            if let Some(username) = &config.sentinel_username {
                put("sentinelUsername", json!(username));
            }
            if let Some(tls) = &tls {
                put("sentinelTLS", tls.clone());
                put("enableTLSForSentinelMode", json!(true));
            }
        }
        Target::Memory(_) => {
            return Err(refused("memory://", "only this package reaches an engine inside the process"));
        }
        Target::Cluster(_) => {
            return Err(refused("a cluster", "a cluster has no plain options in BullMQ"));
        }
    }
    if let Some(tls) = tls {
        put("tls", tls);
    }
    if let Some(username) = &config.username {
        put("username", json!(username));
    }
    match &config.password {
        Password::None => {}
        Password::Fixed(secret) => put_secret(&mut put, "password", Some(secret)),
        Password::Asked(_) => {
            return Err(Error::config(
                "bullmqOptions: RedisConfig.password: expected a string, got a function, which BullMQ's own client never asks: \
                 use bullmqConnection(manager)",
            ));
        }
    }
    if config.db != 0 {
        put("db", json!(config.db));
    }
    put("connectTimeout", millis(config.connect_timeout));
    put("keepAlive", millis(config.keep_alive));
    put("maxRetriesPerRequest", Value::Null);
    Ok(Value::Object(options))
}

/// `addressMap` in the form of ioredis, which has IPv6 addresses without brackets.
fn nat_map(config: &Config) -> Value {
    let entries = config.address_map.iter().map(|(announced, reachable)| {
        (format!("{}:{}", announced.host, announced.port), json!({ "host": reachable.host, "port": reachable.port }))
    });
    Value::Object(entries.collect())
}

fn put_secret(put: &mut impl FnMut(&str, Value), name: &str, secret: Option<&Secret>) {
    if let Some(secret) = secret {
        put(name, json!(secret.reveal()));
    }
}

fn tls_options(given: &TlsOptions) -> Value {
    let mut options = Map::new();
    let mut put = |name: &str, value: Value| drop(options.insert(name.to_owned(), value));
    put_secret(&mut put, "ca", given.ca.as_ref());
    put_secret(&mut put, "cert", given.cert.as_ref());
    put_secret(&mut put, "key", given.key.as_ref());
    put_secret(&mut put, "passphrase", given.passphrase.as_ref());
    if let Some(name) = &given.server_name {
        put("servername", json!(name));
    }
    if !given.verify {
        put("rejectUnauthorized", json!(false));
    }
    Value::Object(options)
}

fn millis(time: std::time::Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn refused(what: &str, why: &str) -> Error {
    Error::config(format!(
        "bullmqOptions: manager: expected a manager of a single server or of sentinels, got {what}: {why}; use bullmqConnection(manager)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(config: &str) -> Result<Value> {
        ioredis_options(&Config::parse(config).unwrap().0)
    }

    #[test]
    fn a_url_becomes_separate_options() {
        let got =
            options(r#"{"url":"redis://us%20er:p%40ss@h:7000/3","connectTimeoutMs":1500,"namespace":"n"}"#).unwrap();
        let want = json!({
            "host": "h", "port": 7000, "db": 3, "username": "us er", "password": "p@ss",
            "connectTimeout": 1500, "keepAlive": 10000, "maxRetriesPerRequest": null,
        });
        assert_eq!(got, want);
    }

    #[test]
    fn sentinels_are_named_with_their_own_credentials_and_tls() {
        let json = r#"{"url":"rediss+sentinel://u:p@a:1,b:2/main","sentinelUsername":"s","sentinelPassword":"q","tls":{"servername":"n"}}"#;
        let got = options(json).unwrap();
        assert_eq!(got["sentinels"], json!([{ "host": "a", "port": 1 }, { "host": "b", "port": 2 }]));
        assert_eq!(
            (&got["name"], &got["sentinelUsername"], &got["sentinelPassword"]),
            (&json!("main"), &json!("s"), &json!("q"))
        );
        assert_eq!((&got["tls"], &got["sentinelTLS"]), (&json!({ "servername": "n" }), &json!({ "servername": "n" })));
        assert_eq!(got["enableTLSForSentinelMode"], json!(true));
        assert!(got.get("host").is_none());
    }

    #[test]
    fn a_target_without_options_of_ioredis_is_refused_with_an_alternative() {
        for json in [r#"{"url":"memory://x"}"#, r#"{"url":"redis+cluster://:hunter2@h"}"#] {
            let error = options(json).unwrap_err();
            assert!(error.message().contains("bullmqConnection(manager)"), "{error}");
            assert!(!error.message().contains("hunter2"));
        }
    }
}
