//! Random commands from templates.
//!
//! `K` is a key, mostly of the kind that suits, `J` certainly, `=` the last one of the same line, `V` a value, `F` a field or member, `I` an integer, `N` a small
//! integer, `D` a score, `G` a group, `C` a consumer, `X` a stream id, `E` an expiry in seconds, `P` one in
//! milliseconds, `R` a glob, `L`, `M` ends of score and lexicographic ranges, `B` a script, `O` a longitude, `A` a
//! latitude, `U` a distance, `T` an integer type of BITFIELD; `word?` comes or not, `a|b` is one of them. Commands of one line, between
//! ` ; `, stay together.

use crate::scripts::SCRIPTS;
use crate::sequences::Unit;
use crate::sides::Args;

/// The kind of keys a file of templates works on, and the templates. Lexicographic ranges mean something only while all
/// scores are equal: the keys of `y` are never used otherwise.
const FAMILIES: &[(&str, &str)] = &[
    ("s", include_str!("templates/strings.txt")),
    ("h", include_str!("templates/hashes.txt")),
    ("l", include_str!("templates/lists.txt")),
    ("t", include_str!("templates/sets.txt")),
    ("z", include_str!("templates/sorted_sets.txt")),
    ("y", include_str!("templates/lexicographic.txt")),
    ("x", include_str!("templates/streams.txt")),
    ("g", include_str!("templates/places.txt")),
    ("p", include_str!("templates/estimates.txt")),
    ("*", include_str!("templates/keys.txt")),
    ("e", include_str!("templates/scripts.txt")),
];

pub(crate) struct Generator {
    rng: fastrand::Rng,
    family: &'static str,
}

impl Generator {
    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.rng.usize(..from.len())]
    }

    fn value(&mut self) -> Vec<u8> {
        let fixed: &[&[u8]] = &[
            b"",
            b"a",
            b"b",
            b"10",
            b"-3",
            b"3.14",
            b"hello world",
            b"\x00\xff\r\n",
            b"01",
            b"9223372036854775807",
            b"inf",
            b"nan",
            b"1e5",
            b" 1",
            b"abc",
            b"{\"a\":[1,2]}",
            b"0",
            b"1",
            b"*",
            b"h?llo",
            b"0.1",
            b"1000.1",
        ];
        if self.rng.u8(..) < 8 {
            return vec![b'x'; self.rng.usize(40..120)];
        }
        self.pick(fixed).to_vec()
    }

    fn key(&mut self, certain: bool) -> Vec<u8> {
        let family = match self.family {
            // No other command uses these keys, because it would show how they are stored, which differs.
            f @ ("y" | "p") => f,
            f @ ("s" | "h" | "l" | "t" | "z" | "x" | "g") if certain || self.rng.u8(..) > 20 => f,
            _ => *self.pick(&["s", "h", "l", "t", "z", "x", "g"].each_ref()),
        };
        let suffix = self.pick(&["1", "2", "3", "\u{0}"]);
        format!("{family}{suffix}").into_bytes()
    }

    fn token(&mut self, token: &str) -> Vec<u8> {
        let text = match token {
            "K" => return self.key(false),
            "J" => return self.key(true),
            "O" => self.pick(&["13.361389", "15.087269", "12.5", "-122.42", "179.9", "0", "181", "x"]).to_owned(),
            "A" => self.pick(&["38.115556", "37.502669", "38", "37.77", "-84.9", "0.5", "86", "x"]).to_owned(),
            "U" => self.pick(&["200", "0", "1", "100000", "56.4", "-1", "3000", "x"]).to_owned(),
            "T" => self.pick(&["u8", "i8", "u4", "i5", "u63", "i64", "u1", "i1", "u64", "i65", "u0", "8"]).to_owned(),
            "#N" => return [b"#".to_vec(), self.token("N")].concat(),
            "V" => return self.value(),
            "B" => return self.pick(SCRIPTS).as_bytes().to_vec(),
            "F" => self.pick(&["a", "b", "c", "d", "", "10", "7", "-1", "long-member-name"]).to_owned(),
            "I" => {
                self.pick(&["0", "1", "-1", "5", "100", "9223372036854775807", "-9223372036854775808", "x"]).to_owned()
            }
            "N" => self.pick(&["0", "1", "2", "3", "5", "-1", "-2", "-100", "10"]).to_owned(),
            "D" => self.pick(&["0", "1", "2.5", "-1", "1e3", "inf", "-inf", "0.1", "3", "x", "1000000"]).to_owned(),
            "G" => self.pick(&["g1", "g2"]).to_owned(),
            "C" => self.pick(&["c1", "c2"]).to_owned(),
            "X" => {
                self.pick(&["1-1", "2-2", "3", "5-*", "0", "7-0", "1-2", "9-9", "4-0", "6-1", "0-0", "bad"]).to_owned()
            }
            // Far away also in milliseconds, because a busy machine is slow.
            "E" => self.pick(&["100000", "1000000", "500000", "0", "-1", "99999999999999999"]).to_owned(),
            "P" => self.pick(&["100000", "9999999", "0", "-5"]).to_owned(),
            "R" => self.pick(&["*", "s*", "?1", "[a-c]*", "*\\**", "nothing", ""]).to_owned(),
            "L" => self.pick(&["-inf", "+inf", "0", "(1", "2.5", "(inf", "x"]).to_owned(),
            "M" => self.pick(&["-", "+", "[a", "(b", "[c", "x"]).to_owned(),
            "(X" => return [b"(".to_vec(), self.token("X")].concat(),
            literal => literal.to_owned(),
        };
        text.as_bytes().to_vec()
    }

    fn words(&mut self, template: &str, last_key: &mut Vec<u8>) -> Args {
        let mut args: Args = Vec::new();
        for word in template.split(' ') {
            let word = match word.strip_suffix('?') {
                Some(_) if self.rng.bool() => continue,
                Some(word) => word,
                None => word,
            };
            let choices: Vec<&str> = word.split('|').collect();
            match self.pick(&choices) {
                "=" => args.push(last_key.clone()),
                choice => args.push(self.token(choice)),
            }
            if word == "K" || word == "J" {
                last_key.clone_from(&args[args.len() - 1]);
            }
        }
        args
    }

    /// Mutates a command.
    fn mutate(&mut self, args: &mut Args) {
        match self.rng.u8(..100) {
            0..2 if args.len() > 1 => {
                args.pop();
            }
            2..4 => args.push(self.value()),
            // If another command read this key, it would show that the estimate is stored in another form.
            4..8 if args.len() > 1 && self.family != "p" => {
                let at = self.rng.usize(1..args.len());
                args[at] = self.value();
            }
            8..10 => args[0].make_ascii_uppercase(),
            _ => {}
        }
    }

    fn unit(&mut self) -> Unit {
        let (family, templates) = FAMILIES[self.rng.usize(..FAMILIES.len())];
        self.family = family;
        let templates: Vec<&str> = templates.lines().collect();
        let template = self.pick(&templates);
        let mut last_key = Vec::new();
        let mut unit: Unit = template.split(" ; ").map(|command| self.words(command, &mut last_key)).collect();
        match &mut unit[..] {
            [command] if family == "y" && command[0] == b"zadd" => {}
            [command] => self.mutate(command),
            // The command is for the comparison only.
            [asked, command] if asked[0] == b"type" => self.mutate(command),
            _ => {}
        }
        unit
    }

    pub(crate) fn sequence(seed: u64) -> Vec<Unit> {
        let mut generator = Generator { rng: fastrand::Rng::with_seed(seed), family: "*" };
        let n = generator.rng.usize(5..40);
        let version: &[u8] = if generator.rng.bool() { b"3" } else { b"2" };
        let mut units = vec![vec![vec![b"HELLO".to_vec(), version.to_vec()]]];
        units.extend((0..n).map(|_| generator.unit()).filter(|unit| unit.iter().all(comparable)));
        units
    }
}

/// Subcommands of ACL that are left out. They would change the only user, which the next sequence on the same real server needs.
const CHANGES_USERS: &[&str] = &["setuser", "deluser", "load", "save", "genpass", "help", "log"];

/// Leaves out commands whose results differ by chance, or that would stop the test.
fn comparable(args: &Args) -> bool {
    let name = String::from_utf8_lossy(&args[0]).to_lowercase();
    let word = |i: usize| args.get(i).map(|a| String::from_utf8_lossy(a).to_lowercase()).unwrap_or_default();
    match name.as_str() {
        // Mutation can make a timeout very long.
        "blpop" | "brpop" | "blmove" | "brpoplpush" | "bzpopmin" | "bzpopmax" => {
            args.last().is_some_and(|a| a == b"0.01")
        }
        "blmpop" | "bzmpop" => word(1) == "0.01",
        "wait" => word(1) == "0",
        "xread" | "xreadgroup" => !args.iter().enumerate().any(|(i, a)| a == b"block" && word(i + 1) != "10"),
        // Mutation can make a number of repetitions very large.
        "srandmember" | "hrandfield" | "zrandmember" => word(2).len() < 6,
        // Ids from the clock.
        "xadd" => !args.iter().any(|a| a == b"*"),
        "config" if word(1) == "get" && word(2) != "requirepass" => {
            args[2..].iter().all(|a| [&b"maxmemory"[..], b"save", b"hz"].contains(&a.as_slice()))
        }
        "config" => word(1) != "set" || word(2) == "requirepass" || word(2) == "maxmemory" && word(3) == "0",
        "client" => {
            let with_tracking = word(1) == "tracking" && word(2) != "on";
            with_tracking
                || matches!(
                    word(1).as_str(),
                    "getname" | "setname" | "id" | "no-evict" | "setinfo" | "trackinginfo" | "getredir" | "caching"
                )
        }
        "scan" | "sscan" | "hscan" | "zscan" => word(if name == "scan" { 1 } else { 2 }) == "0",
        // An unsorted result has an order only where a template ensures it.
        "sort" | "sort_ro" => {
            let pattern = args.iter().position(|word| word == b"by").and_then(|at| args.get(at + 1));
            pattern.is_none_or(|pattern| pattern == b"nosort" || pattern.contains(&b'*'))
        }
        "script" => !matches!(word(1).as_str(), "flush" | "kill" | "debug"),
        "command" | "slowlog" => args.len() == 2 || word(1) == "getkeys" || word(1) == "get",
        "acl" => !CHANGES_USERS.contains(&word(1).as_str()),
        // Redis writes a sorted set cell by cell, and a count takes the first members that it finds.
        "geosearch" | "georadius" | "georadius_ro" | "georadiusbymember" | "georadiusbymember_ro" => {
            let words: Vec<String> = (0..args.len()).map(word).collect();
            let has = |w: &str| words.iter().any(|word| word == w);
            (has("asc") || has("desc") || has("count") || has("store") || has("storedist"))
                && !(has("any") && has("count"))
        }
        "monitor" | "sync" | "psync" | "shutdown" | "replicaof" | "slaveof" | "save" | "bgsave" => false,
        _ => true,
    }
}
