//! The two sides that are compared, and a connection to either of them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use redis_backplane::embedded::{self, ClientStream};
use tokio::io::{AsyncRead, ReadBuf};

use crate::value::{Value, parse};

pub(crate) type Args = Vec<Vec<u8>>;

/// How long a side may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn encode(commands: &[Args]) -> Vec<u8> {
    let mut out = Vec::new();
    for args in commands {
        out.extend(format!("*{}\r\n", args.len()).into_bytes());
        for arg in args {
            out.extend(format!("${}\r\n", arg.len()).into_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

pub(crate) fn command(line: &str) -> Args {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A `redis-server` of the test, killed on the drop.
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
}

impl Server {
    pub(crate) fn start(name: &str) -> Server {
        let dir = std::env::temp_dir().join(format!("embedded-differential-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--slowlog-log-slower-than", "-1", "--unixsocket"])
            .arg(dir.join("socket"))
            .arg("--dir")
            .arg(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server 7.0 must be installed and on the PATH (Debian: apt-get install redis-server)");
        Server { child, dir }
    }

    pub(crate) fn connect(&self) -> Connection {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(self.dir.join("socket")) {
                Ok(stream) => return Connection::new(Stream::Socket(stream)),
                Err(_) if Instant::now() < deadline => std::thread::yield_now(),
                Err(e) => panic!("redis-server did not open its socket: {e}"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A connection to the engine with this name, or to an engine of its own.
pub(crate) fn engine(name: Option<&str>) -> Connection {
    Connection::new(Stream::Memory(embedded::connect(name).unwrap()))
}

enum Stream {
    Socket(UnixStream),
    Memory(ClientStream),
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) struct Connection {
    stream: Stream,
    /// The received bytes that are not taken yet.
    pub(crate) received: Vec<u8>,
    /// Is the connection still open on the other side?
    pub(crate) open: bool,
}

impl Connection {
    fn new(stream: Stream) -> Connection {
        Connection { stream, received: Vec::new(), open: true }
    }

    /// Writes all bytes, unless the side has ended the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.open {
            let written = match &mut self.stream {
                Stream::Socket(stream) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.write(rest)
                }
                Stream::Memory(stream) => stream.try_write(rest),
            };
            match written {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => self.open = false,
            }
        }
    }

    /// Reads the bytes that have arrived. With `wait` it first waits for some.
    pub(crate) fn receive(&mut self, wait: bool) {
        let mut chunk = vec![0; 65536];
        let n = match &mut self.stream {
            Stream::Socket(stream) => {
                stream.set_nonblocking(!wait).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                match stream.read(&mut chunk) {
                    Ok(n) => n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock && !wait => return,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("redis-server did not answer"),
                    // The peer was killed with unread bytes.
                    Err(_) => 0,
                }
            }
            Stream::Memory(stream) => match read_memory(stream, &mut chunk, wait) {
                Some(n) => n,
                None => return,
            },
        };
        self.open &= n > 0;
        self.received.extend_from_slice(&chunk[..n]);
    }

    /// The next reply, waited for; `None` at the end of the connection.
    pub(crate) fn reply(&mut self) -> Option<Value> {
        loop {
            if let Some((value, used)) = parse(&self.received) {
                self.received.drain(..used);
                return Some(value);
            }
            if !self.open {
                return None;
            }
            self.receive(true);
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> Value {
        self.send(&encode(&[command(line)]));
        self.reply().expect("an open connection")
    }
}

fn read_memory(stream: &mut ClientStream, chunk: &mut [u8], wait: bool) -> Option<usize> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut buffer = ReadBuf::new(chunk);
        match Pin::new(&mut *stream).poll_read(&mut Context::from_waker(&waker), &mut buffer) {
            Poll::Ready(read) => {
                read.unwrap();
                return Some(buffer.filled().len());
            }
            Poll::Pending if !wait => return None,
            Poll::Pending => {
                let rest = deadline.saturating_duration_since(Instant::now());
                assert!(!rest.is_zero(), "the engine did not answer");
                std::thread::park_timeout(rest);
            }
        }
    }
}
