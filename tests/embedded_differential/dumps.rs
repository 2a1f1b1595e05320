//! DUMP and RESTORE across the two sides: each side reads the dumps of the other.

use crate::sides::{Connection, Server, command, encode, engine};
use crate::value::Value;

/// Commands that make a key, in each encoding that Redis 7.0 has for its type.
fn keys() -> Vec<(&'static str, Vec<String>)> {
    let long = "x".repeat(5000);
    let many = |verb: &str, item: &dyn Fn(usize) -> String| {
        (0..700).map(|i| format!("{verb} {}", item(i))).collect::<Vec<_>>()
    };
    vec![
        ("text", vec!["set text hello".to_owned()]),
        ("empty", vec!["set empty ".to_owned()]),
        ("int8", vec!["set int8 -7".to_owned()]),
        ("int16", vec!["set int16 3000".to_owned()]),
        ("int32", vec!["set int32 -70000".to_owned()]),
        ("int64", vec!["set int64 9223372036854775807".to_owned()]),
        ("packed", vec![format!("set packed {long}")]),
        ("mixed", vec![format!("set mixed {}", "abcabcabd".repeat(400))]),
        ("list", vec!["rpush list a -1 200 70000 -5000000000 1234567 8388607 -8388608 4095 -4096 127 128".to_owned()]),
        ("longlist", many("rpush longlist", &|i| format!("item-{i} {i}"))),
        ("plainlist", vec![format!("rpush plainlist {} b {}", "y".repeat(9000), "z".repeat(300))]),
        ("ints", vec!["sadd ints 1 2 -3".to_owned()]),
        ("ints32", vec!["sadd ints32 1 -70000".to_owned()]),
        ("ints64", vec!["sadd ints64 1 9223372036854775807".to_owned()]),
        ("set", vec!["sadd set a b 1".to_owned()]),
        ("bigset", many("sadd bigset", &|i| format!("m{i}"))),
        ("hash", vec!["hset hash a 1 b two".to_owned()]),
        ("bighash", many("hset bighash", &|i| format!("f{i} {i}"))),
        ("zset", vec!["zadd zset 1 a -2.5 b inf c 0.1 d".to_owned()]),
        ("bigzset", many("zadd bigzset", &|i| format!("{i}.5 m{i}"))),
        ("places", vec!["geoadd places 13.361389 38.115556 Palermo".to_owned()]),
        ("estimate", vec!["pfadd estimate a b c".to_owned()]),
    ]
}

fn contents(of: &mut Connection, key: &str) -> Value {
    let kind = of.ask(&format!("type {key}")).text;
    let mut value = match kind.as_slice() {
        b"string" if key == "estimate" => of.ask(&format!("pfcount {key}")),
        b"string" => of.ask(&format!("get {key}")),
        b"list" => of.ask(&format!("lrange {key} 0 -1")),
        b"set" => of.ask(&format!("sort {key} alpha")),
        b"hash" => of.ask(&format!("hgetall {key}")),
        b"zset" => of.ask(&format!("zrange {key} 0 -1 withscores")),
        other => panic!("{}", String::from_utf8_lossy(other)),
    };
    if kind == b"hash" {
        value.sort_pairs();
    }
    value
}

fn carry(from: &mut Connection, to: &mut Connection) {
    for (key, makers) in keys() {
        for maker in makers {
            assert!(!from.ask(&maker).is_error(), "{maker}");
        }
        let payload = from.ask(&format!("dump {key}")).text;
        let mut restore = command(&format!("restore {key} 0"));
        restore.push(payload.clone());
        to.send(&encode(&[restore]));
        assert_eq!(to.reply().unwrap().shown(), "+OK", "{key}: {}", payload.escape_ascii());
        assert_eq!(contents(to, key).shown(), contents(from, key).shown(), "{key}");
        let mut spoiled = command(&format!("restore {key} 0"));
        spoiled.push([b"\x01", &payload[1..]].concat());
        spoiled.push(b"replace".to_vec());
        to.send(&encode(&[spoiled]));
        let refused = to.reply().unwrap().shown();
        let unchanged = payload[0] == 1;
        assert_eq!(refused, if unchanged { "+OK" } else { "-ERR DUMP payload version or checksum are wrong" }, "{key}");
    }
}

#[test]
fn the_engine_restores_dumps_of_a_real_server() {
    let server = Server::start("dumps");
    carry(&mut server.connect(), &mut engine(None));
}

#[test]
fn a_real_server_restores_dumps_of_the_engine() {
    let server = Server::start("restores");
    carry(&mut engine(None), &mut server.connect());
}
