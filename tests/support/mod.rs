//! Redis processes of a test: each has a free port and its own directory, and is killed on the drop.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "each test binary uses its part; a test may panic"
)]

pub mod cluster;
pub mod sentinels;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_backplane::connection::{ChannelMessage, Config, Listener, Manager, Unobserved};
use redis_backplane::error::{Error, Result};
use redis_backplane::resp::Reply;

const PATIENCE: Duration = Duration::from_secs(30);

/// A free port, whose cluster bus port, 10 000 higher, is free too.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand_port();
        let both = TcpListener::bind(("127.0.0.1", port)).and_then(|_| TcpListener::bind(("127.0.0.1", port + 10_000)));
        if both.is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

fn fastrand_port() -> u16 {
    // The low bits of a new address and the clock: parallel tests rarely choose the same port, and `bind` fails if they do.
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    11_000 + u16::try_from((nanos / 7 + std::process::id() * 31) % 20_000).unwrap()
}

/// One `redis-server`, or one sentinel.
pub struct Server {
    pub port: u16,
    child: Child,
    directory: PathBuf,
}

impl Server {
    pub fn start(options: &[&str]) -> Self {
        Self::start_as("", "", options)
    }

    pub fn sentinel(settings: &str) -> Self {
        Self::start_as("--sentinel", settings, &[])
    }

    fn start_as(mode: &str, settings: &str, options: &[&str]) -> Self {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("topology-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("redis.conf");
        std::fs::write(&file, format!("port {port}\nbind 127.0.0.1\ndir {}\n{settings}\n", directory.display()))
            .unwrap();
        let mut process = Process::new("redis-server");
        process.arg(&file);
        if mode.is_empty() {
            process.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        } else {
            process.arg(mode);
        }
        let child = process
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server on PATH (install the package redis-server)");
        let server = Self { port, child, directory };
        until("the server answers", || server.is_up());
        server
    }

    /// Does the server answer, even with an error?
    fn is_up(&self) -> bool {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let Ok(mut connection) = client.get_connection_with_timeout(Duration::from_secs(2)) else { return false };
        match redis::cmd("PING").query::<redis::Value>(&mut connection) {
            Ok(_) => true,
            Err(error) => !error.is_io_error(),
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Freezes the process; its connections stay open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Process::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Runs a command on a connection of its own, without the code under test.
    pub fn ask(&self, words: &[&str]) -> redis::Value {
        let value = self.try_ask(words).unwrap_or_else(|| panic!("{words:?} got no answer"));
        if let redis::Value::ServerError(error) = &value {
            panic!("{words:?}: {error:?}");
        }
        value
    }

    pub fn try_ask(&self, words: &[&str]) -> Option<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        match command.query(&mut connection) {
            Ok(value) => Some(value),
            Err(error) if error.is_io_error() => None,
            Err(error) => panic!("{words:?}: {error}"),
        }
    }

    pub fn info(&self, section: &str, field: &str) -> Option<String> {
        let value = self.try_ask(&["INFO", section])?;
        let text: String = redis::from_redis_value(value).unwrap();
        text.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).map(|value| value.trim().to_owned())
    }

    pub fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.ask(words)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub async fn until_async<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Scales `limit`, the limit on an idle machine, to the present load of this machine. For upper bounds of measured times.
pub fn stretched(limit: Duration) -> Duration {
    limit.mul_f64(starvation().unwrap_or(1.0).clamp(1.0, 12.0))
}

/// How many times slower than on an idle machine this thread runs now, where the kernel counts the time on a processor.
fn starvation() -> Option<f64> {
    let used = || {
        let nanos = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        nanos.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    let (begin, before) = (Instant::now(), used()?);
    loop {
        let spun = used()?.saturating_sub(before);
        if spun >= Duration::from_millis(20) {
            return Some(begin.elapsed().div_duration_f64(spun));
        }
    }
}

pub fn manager(json: &str) -> Manager {
    Manager::new(Config::parse(json).unwrap().0, Arc::new(Unobserved)).unwrap()
}

/// Runs a command like a user's `command()`.
pub async fn run(manager: &Manager, words: &[&str]) -> Result<Reply> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let (command, _) = manager.prepare(&words)?;
    manager.call(command).await
}

pub fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec().into())
}

pub fn ok() -> Reply {
    Reply::Simple("OK".into())
}

/// The messages of an error's causes, the nearest first.
pub fn causes(error: &Error) -> Vec<String> {
    let mut list = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        list.push(error.to_string());
        cause = error.source();
    }
    list
}

/// A listener that records its calls.
#[derive(Default)]
pub struct Ear(std::sync::Mutex<Vec<String>>);

impl Listener for Ear {
    fn message(&self, message: &ChannelMessage) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(&message.payload).into_owned());
    }

    fn restored(&self, _gap: Duration) {
        self.0.lock().unwrap().push("restored".into());
    }
}

impl Ear {
    pub fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap().iter().any(|heard| heard == what)
    }
}
