//! URLs of every scheme: an error quotes no part of the URL, and a URL that is written again from the result gives the same result.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redis_backplane::bullmq::ioredis_options;
use redis_backplane::connection::fuzzing::{Url, read_url};
use redis_backplane::connection::{Address, Config, Target};

/// A URL with the same meaning.
fn say((target, tls, username, password, db): &Url) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let user_info = match (username, password) {
        (None, None) => String::new(),
        (Some(name), None) => format!("{}@", encoded(name)),
        (name, Some(password)) => format!("{}:{}@", encoded(name.as_deref().unwrap_or("")), encoded(password)),
    };
    let hosts = |several: &[Address]| several.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
    let (form, hosts, path) = match target {
        Target::Tcp(address) => ("redis", address.to_string(), String::new()),
        Target::Unix(path) => ("redis+unix", String::new(), path.split('/').map(encoded).collect::<Vec<_>>().join("/")),
        Target::Memory(name) => ("memory", encoded(name.as_deref().unwrap_or("")), String::new()),
        Target::Sentinel { sentinels, master } => ("redis+sentinel", hosts(sentinels), format!("/{}", encoded(master))),
        Target::Cluster(nodes) => ("redis+cluster", hosts(nodes), String::new()),
    };
    let form = if *tls { form.replace("redis", "rediss") } else { form.to_owned() };
    let db = db.map(|db| format!("?db={db}")).unwrap_or_default();
    format!("{form}://{user_info}{hosts}{path}{db}")
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    match read_url(&text) {
        Ok(read) => {
            let again = say(&read);
            assert_eq!(read_url(&again).expect("a URL that was said again"), read, "{again}");
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("RedisConfig.url: expected "), "{message}");
            assert!(!message.contains(common::SECRET), "a URL is repeated: {message}");
        }
    }
    let json = serde_json::json!({ "url": text }).to_string();
    if let Ok((config, _)) = Config::parse(&json) {
        let count = |shown: String| shown.matches(common::SECRET).count();
        let public = count(format!("{:?}", config.target)) + count(format!("{:?}", config.username));
        assert_eq!(count(format!("{config:?}")), public, "a password is shown: {config:?}");
        assert!(public == 0 || !is_password(&text), "a password is taken for something else: {config:?}");
        let _ = ioredis_options(&config);
    }
});

/// Is the secret in the URL as the password only: after a colon, and before the last `@` before the path?
fn is_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let marked = format!(":{}@", common::SECRET);
    authority.contains(&marked) && text.matches(common::SECRET).count() == 1
}
