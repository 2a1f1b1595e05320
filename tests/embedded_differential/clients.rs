//! Several clients of one side. One client acts at a time. Before the next client acts, the replies of all clients are collected.
//!
//! One more connection makes this reliable. When a single-threaded server has answered on this connection twice, it has read and written,
//! before the second answer, everything that was there at the first. One answer of the embedded engine is enough, because it takes
//! messages in the order of sending.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sides::{Args, Connection, Server, encode, engine};
use crate::value::Value;

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Client `.0` sends a command. A word `@n` stands for the id of client `n`.
    Send(usize, Args),
    /// The time passes that the deadlines of [`super::interleavings`] need.
    Elapse,
}

/// One way in which `clients` may act after another.
#[derive(Debug, Clone)]
pub(crate) struct Interleaving {
    /// The protocol version of each client.
    pub(crate) protocols: Vec<u8>,
    pub(crate) steps: Vec<Step>,
}

/// How much time [`Step::Elapse`] takes, in milliseconds of the side's own clock.
pub(crate) const ELAPSED: i64 = 130;

/// The replies that each client has received after a step, and whether the client is still connected.
pub(crate) type Seen = Vec<(Vec<u8>, bool)>;

struct Member {
    connection: Connection,
    id: Vec<u8>,
}

pub(crate) enum Side {
    Real(Server),
    Engine,
}

impl Side {
    fn connector(&self) -> Box<dyn Fn() -> Connection + '_> {
        static ENGINES: AtomicU64 = AtomicU64::new(0);
        match self {
            Side::Real(server) => Box::new(|| server.connect()),
            Side::Engine => {
                let name = format!("interleaving-{}", ENGINES.fetch_add(1, Ordering::Relaxed));
                Box::new(move || engine(Some(&name)))
            }
        }
    }

    /// The replies of every client after every step.
    pub(crate) fn play(&self, interleaving: &Interleaving) -> Vec<Seen> {
        let connect = self.connector();
        let mut control = connect();
        control.ask("FLUSHALL");
        let mut members: Vec<Member> = interleaving.protocols.iter().map(|p| join(&connect, *p)).collect();
        let mut seen = Vec::with_capacity(interleaving.steps.len());
        for step in &interleaving.steps {
            match step {
                Step::Send(client, args) => {
                    if !members[*client].connection.open {
                        members[*client] = join(&connect, interleaving.protocols[*client]);
                    }
                    let args = args.iter().map(|word| resolve(word, &members)).collect();
                    members[*client].connection.send(&encode(&[args]));
                }
                Step::Elapse => elapse(&mut control),
            }
            fence(&mut control);
            seen.push(members.iter_mut().map(collect).collect());
        }
        // No waiting client may remain, because it would take the elements that the next interleaving pushes.
        for member in &mut members {
            control.send(&encode(&[vec![b"CLIENT".to_vec(), b"KILL".to_vec(), b"ID".to_vec(), member.id.clone()]]));
            control.reply();
        }
        fence(&mut control);
        seen
    }
}

fn join(connect: &dyn Fn() -> Connection, protocol: u8) -> Member {
    let mut connection = connect();
    let id = connection.ask("CLIENT ID").text;
    connection.ask(&format!("HELLO {protocol}"));
    Member { connection, id }
}

fn resolve(word: &[u8], members: &[Member]) -> Vec<u8> {
    let named = word.strip_prefix(b"@").and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
    named.and_then(|n| members.get(n)).map_or_else(|| word.to_vec(), |member| member.id.clone())
}

fn fence(control: &mut Connection) {
    control.ask("PING");
    control.ask("PING");
}

fn collect(member: &mut Member) -> (Vec<u8>, bool) {
    loop {
        let before = member.connection.received.len();
        if member.connection.open {
            member.connection.receive(false);
        }
        if member.connection.received.len() == before {
            let received = std::mem::take(&mut member.connection.received);
            return (without_id(received, &member.id), member.connection.open);
        }
    }
}

/// The two sides number their clients differently, which HELLO shows.
fn without_id(received: Vec<u8>, id: &[u8]) -> Vec<u8> {
    let shown = [b"id\r\n:", id, b"\r\n"].concat();
    match received.windows(shown.len()).position(|window| window == shown) {
        Some(at) => [&received[..at], b"id\r\n:#\r\n", &received[at + shown.len()..]].concat(),
        None => received,
    }
}

fn millis(control: &mut Connection) -> i64 {
    let time = control.ask("TIME");
    let part = |i: usize| time.items.get(i).and_then(Value::number).unwrap();
    part(0) * 1000 + part(1) / 1000
}

fn elapse(control: &mut Connection) {
    let until = millis(control) + ELAPSED;
    while millis(control) < until {
        std::thread::yield_now();
    }
}
