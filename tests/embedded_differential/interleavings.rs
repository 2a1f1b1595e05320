//! Random interleavings of several clients.
//!
//! In the templates `L`, `Z`, `X` and `S` are keys of lists, sorted sets, streams and strings, `V` is a value, `N` a
//! count, `C` a consumer, `@` another client's id, `W`, `U` and `Q` scripts that push, `I` a stream id above all
//! earlier ones. A client has at most one pattern that matches a channel: which of several comes first is chance.

use crate::clients::{Interleaving, Step};
use crate::sides::{Args, command};

const WAITING: &str = include_str!("interleavings/waiting.txt");
const WAKING: &str = include_str!("interleavings/waking.txt");
const TRANSACTIONS: &str = include_str!("interleavings/transactions.txt");
const CHANNELS: &str = include_str!("interleavings/channels.txt");

/// The subject of an interleaving: its templates, and their weights.
const THEMES: &[&[(&str, usize)]] = &[
    &[(WAITING, 4), (WAKING, 5)],
    &[(WAITING, 2), (WAKING, 2), (TRANSACTIONS, 5)],
    &[(TRANSACTIONS, 1)],
    &[(CHANNELS, 1)],
    &[(WAITING, 1), (WAKING, 1), (TRANSACTIONS, 1), (CHANNELS, 1)],
];

/// Scripts, and waits that end by themselves, have blanks in words of their own.
const PUSHES: &str = "redis.call('rpush',KEYS[1],'e1','e2') return redis.call('llen',KEYS[#KEYS])";
const PUSHES_MANY: &str =
    "redis.call('zadd',KEYS[1],1,'e1') redis.call('del',KEYS[1]) return redis.call('zadd',KEYS[1],2,'e2',3,'e3')";

/// Groups of steps in which time matters. Deadlines are far enough away to be set in time on a busy machine, and near
/// enough for [`crate::clients::ELAPSED`].
const TIMED: &[&[&str]] = &[
    &["0 set s1 a px 100", "1 watch s1", "elapse", "1 multi", "1 get s1", "1 exec"],
    &["0 set s1 a px 100", "1 watch s1", "elapse", "0 get s1", "1 multi", "1 get s1", "1 exec"],
    &["0 set s1 a px 100", "1 watch s1", "elapse", "0 del s1", "1 multi", "1 get s1", "1 exec"],
    &["0 set s1 a px 100", "elapse", "1 watch s1", "0 get s1", "1 multi", "1 get s1", "1 exec"],
    &["0 set s1 a px 100", "elapse", "1 watch s1", "0 set s1 b", "1 multi", "1 get s1", "1 exec"],
    &["0 set s1 a px 100", "1 watch s1", "0 persist s1", "elapse", "1 multi", "1 get s1", "1 exec"],
    &["0 blpop l1 0.05", "elapse"],
    &["0 blpop l1 0.05", "1 blpop l1 0", "elapse", "0 rpush l1 a b"],
    &["0 bzmpop 0.05 1 z1 min", "elapse"],
    &["0 xread block 50 streams x1 $", "elapse"],
    &["0 blmove l1 l2 left right 0.05", "elapse"],
    &["0 client pause 60 write", "1 set s1 a", "2 get s1", "elapse"],
    &["0 client pause 60 all", "elapse"],
];

struct Maker {
    rng: fastrand::Rng,
    clients: usize,
    last_id: u64,
}

impl Maker {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.usize(..from.len())]
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        let choices: Vec<&str> = word.split('|').collect();
        let text = match self.pick(&choices) {
            "L" => self.pick(&["l1", "l2"]).to_owned(),
            "Z" => self.pick(&["z1", "z2"]).to_owned(),
            "X" => self.pick(&["x1", "x2"]).to_owned(),
            "S" => self.pick(&["s1", "s2"]).to_owned(),
            "V" => self.pick(&["a", "b", "", "1", "\r\n"]).to_owned(),
            "N" => self.pick(&["1", "2", "10"]).to_owned(),
            "C" => self.pick(&["c1", "c2"]).to_owned(),
            "I" => {
                self.last_id += 1;
                format!("{}-1", self.last_id)
            }
            "W" => PUSHES.to_owned(),
            "U" => "redis.call('rpush',KEYS[2],'e1') return redis.call('rpush',KEYS[1],'e2','e3')".to_owned(),
            "Q" => PUSHES_MANY.to_owned(),
            "@" => format!("@{}", self.rng.usize(..self.clients)),
            other => other.to_owned(),
        };
        text.into_bytes()
    }

    fn command(&mut self, template: &str) -> Args {
        let mut args: Args = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let (word, tail) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap(),
                None => rest.split_once(' ').unwrap_or((rest, "")),
            };
            args.push(if rest.starts_with('"') { word.as_bytes().to_vec() } else { self.word(word) });
            rest = tail.trim_start();
        }
        args
    }

    /// Steps in which time passes, by clients chosen for their numbers.
    fn timed(&mut self) -> Vec<Step> {
        let steps = TIMED[self.rng.usize(..TIMED.len())];
        let shift = self.rng.usize(..self.clients);
        let step = |text: &&str| match text.split_once(' ') {
            Some((client, line)) => {
                Step::Send((client.parse::<usize>().unwrap() + shift) % self.clients, command(line))
            }
            None => Step::Elapse,
        };
        steps.iter().map(step).collect()
    }
}

pub(crate) fn interleaving(seed: u64) -> Interleaving {
    let mut rng = fastrand::Rng::with_seed(seed);
    let clients = rng.usize(2..=4);
    let protocols = (0..clients).map(|_| rng.u8(2..=3)).collect();
    let mut maker = Maker { rng, clients, last_id: 0 };
    let theme = THEMES[maker.rng.usize(..THEMES.len())];
    let weight: usize = theme.iter().map(|part| part.1).sum();
    let (mut steps, muted) = (Vec::new(), maker.rng.bool());
    if maker.rng.u8(..) < 30 {
        steps.extend(maker.timed());
    }
    for _ in 0..maker.rng.usize(6..30) {
        let mut at = maker.rng.usize(..weight);
        let part = theme.iter().find(|part| match at.checked_sub(part.1) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let templates: Vec<&str> = part.unwrap().0.lines().collect();
        let template = maker.pick(&templates);
        let args = maker.command(template);
        // A client that wants no replies gets half a reply to EXEC, and is never closed by QUIT.
        let at_odds = if muted { [&b"multi"[..], b"quit"] } else { [&b"reply"[..], b"reply"] };
        if args.iter().any(|word| at_odds.contains(&word.as_slice())) {
            continue;
        }
        steps.push(Step::Send(maker.rng.usize(..clients), args));
    }
    Interleaving { protocols, steps }
}
