//! Tests of what the differential test does not cover: several clients, time, faults, lifetimes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::name::EngineName;
use super::{ClientStream, Control, connect};

struct Client {
    stream: ClientStream,
}

impl Client {
    fn of(name: &str) -> Client {
        Client { stream: connect(Some(name)).unwrap() }
    }

    async fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    /// Reads until exactly `expected` has arrived.
    async fn expect(&mut self, expected: &str) {
        let mut got = vec![0; expected.len()];
        let read = self.stream.read_exact(&mut got);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer in time").expect("an open stream");
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    async fn ask(&mut self, line: &str, expected: &str) {
        self.send(line).await;
        self.expect(expected).await;
    }

    /// The bytes that have arrived, as text.
    async fn hear(&mut self) -> String {
        let mut got = vec![0; 4096];
        let read = self.stream.read(&mut got);
        let len = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer in time").unwrap();
        assert_ne!(len, 0, "an open stream");
        String::from_utf8_lossy(&got[..len]).into_owned()
    }

    /// Sends `line` until an answer starts with `start`.
    async fn ask_until(&mut self, line: &str, start: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.send(line).await;
            let answer = self.hear().await;
            if answer.starts_with(start) {
                return;
            }
            assert!(Instant::now() < deadline, "{line}: never {start}, at last {answer}");
        }
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an end in time").unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn engines_of_one_name_share_data_until_the_last_stream_is_gone() {
    let mut first = Client::of("share");
    let mut second = Client::of("share");
    first.ask("set a 1", "+OK\r\n").await;
    second.ask("get a", "$1\r\n1\r\n").await;
    drop(first);
    second.ask("get a", "$1\r\n1\r\n").await;
    drop(second);
    Client::of("share").ask("get a", "$-1\r\n").await;
    let mut private = Client { stream: connect(None).unwrap() };
    private.ask("get a", "$-1\r\n").await;
}

#[tokio::test]
async fn advancing_the_clock_expires_keys_and_ends_waits() {
    let mut client = Client::of("advance");
    let control = Control::of("advance").unwrap();
    client.ask("set a 1 ex 100", "+OK\r\n").await;
    control.advance(Duration::from_secs(99)).unwrap();
    client.ask("exists a", ":1\r\n").await;
    control.advance(Duration::from_secs(2)).unwrap();
    assert_eq!(control.dump().unwrap(), "[]");
    client.send("blpop list 1000").await;
    client.send("ping").await;
    control.advance(Duration::from_secs(1001)).unwrap();
    client.expect("*-1\r\n+PONG\r\n").await;
}

#[tokio::test]
async fn waiting_clients_are_served_in_the_order_of_their_waits() {
    let (mut a, mut b, mut c) = (Client::of("line"), Client::of("line"), Client::of("line"));
    a.ask("ping", "+PONG\r\n").await;
    a.send("blpop list 0").await;
    // Each client must wait before the next one sends its command.
    wait_for_blocked(&mut c, 1).await;
    b.send("blpop list 0").await;
    wait_for_blocked(&mut c, 2).await;
    c.ask("rpush list x y z", ":3\r\n").await;
    a.expect("*2\r\n$4\r\nlist\r\n$1\r\nx\r\n").await;
    b.expect("*2\r\n$4\r\nlist\r\n$1\r\ny\r\n").await;
    c.ask("llen list", ":1\r\n").await;
}

async fn wait_for_blocked(client: &mut Client, n: usize) {
    let wanted = format!("blocked_clients:{n}\r\n");
    for _ in 0..10_000 {
        client.send("info clients").await;
        if client.hear().await.contains(&wanted) {
            return;
        }
    }
    panic!("never {wanted}");
}

#[tokio::test]
async fn messages_reach_channels_patterns_and_shards() {
    let (mut old, mut new, mut publisher) = (Client::of("pubsub"), Client::of("pubsub"), Client::of("pubsub"));
    old.ask("subscribe news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n").await;
    old.ask("get a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n").await;
    new.send("hello 3").await;
    let mut hello = vec![0; 4096];
    let _ = new.stream.read(&mut hello).await.unwrap();
    new.ask("psubscribe n*", ">3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n").await;
    new.ask("ssubscribe s", ">3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n").await;
    publisher.ask("publish news hi", ":2\r\n").await;
    publisher.ask("spublish s yo", ":1\r\n").await;
    old.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n").await;
    new.expect(">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n").await;
    new.expect(">3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$2\r\nyo\r\n").await;
    new.ask("get a", "_\r\n").await;
}

#[tokio::test]
async fn a_watched_key_that_changes_discards_the_transaction() {
    let (mut a, mut b) = (Client::of("watch"), Client::of("watch"));
    a.ask("watch k", "+OK\r\n").await;
    a.ask("multi", "+OK\r\n").await;
    a.ask("set k a", "+QUEUED\r\n").await;
    b.ask("set k b", "+OK\r\n").await;
    a.ask("exec", "*-1\r\n").await;
    a.ask("get k", "$1\r\nb\r\n").await;
}

#[tokio::test]
async fn after_a_dropped_reply_the_command_is_executed_and_the_connection_closed() {
    let mut client = Client::of("drop");
    client.ask("set n 1", "+OK\r\n").await;
    let control = Control::of("drop").unwrap();
    control.drop_replies(1).unwrap();
    client.send("incr n").await;
    client.expect_end().await;
    let mut again = Client::of("drop");
    again.ask("get n", "$1\r\n2\r\n").await;
}

#[tokio::test]
async fn killed_clients_find_their_data_when_they_reconnect() {
    let mut client = Client::of("kill");
    client.ask("set n 1", "+OK\r\n").await;
    Control::of("kill").unwrap().kill_clients().unwrap();
    client.expect_end().await;
    drop(client);
    let mut again = Client::of("kill");
    again.ask("get n", "$1\r\n1\r\n").await;
}

#[tokio::test]
async fn a_paused_engine_answers_when_it_is_resumed() {
    let mut client = Client::of("pause");
    client.ask("ping", "+PONG\r\n").await;
    let control = Control::of("pause").unwrap();
    control.pause().unwrap();
    client.send("incr n").await;
    assert_eq!(control.dump().unwrap(), "[]");
    control.resume().unwrap();
    client.expect(":1\r\n").await;
}

#[tokio::test]
async fn latency_delays_replies_in_order() {
    let mut client = Client::of("latency");
    client.ask("ping", "+PONG\r\n").await;
    Control::of("latency").unwrap().latency(Duration::from_millis(30)).unwrap();
    let started = Instant::now();
    client.send("incr n").await;
    client.send("incr n").await;
    client.expect(":1\r\n:2\r\n").await;
    assert!(started.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn readonly_and_the_memory_limit_refuse_writes() {
    let mut client = Client::of("bounds");
    client.ask("set a 1", "+OK\r\n").await;
    let control = Control::of("bounds").unwrap();
    control.readonly(true).unwrap();
    client.ask("set a 2", "-READONLY You can't write against a read only replica.\r\n").await;
    control.readonly(false).unwrap();
    control.max_memory(Some(1)).unwrap();
    client.ask("set a 2", "-OOM command not allowed when used memory > 'maxmemory'.\r\n").await;
    client.ask("get a", "$1\r\n1\r\n").await;
    client.ask("del a", ":1\r\n").await;
    control.max_memory(None).unwrap();
    client.ask("set a 3", "+OK\r\n").await;
    let dump = control.dump().unwrap();
    assert_eq!(dump, r#"[{"db":0,"key":"a","ttl":null,"type":"string","value":"3"}]"#);
    control.flush().unwrap();
    client.ask("dbsize", ":0\r\n").await;
}

#[tokio::test]
async fn a_runaway_script_is_stopped_by_script_kill_or_by_its_limit() {
    let (mut runner, mut other) = (Client::of("runaway"), Client::of("runaway"));
    runner.ask("config set lua-time-limit 1000", "+OK\r\n").await;
    runner.send("eval \"while true do pcall(function() while true do end end) end\" 0").await;
    runner.stream.flush().await.unwrap();
    other.ask_until("script kill", "+OK").await;
    runner.expect("-ERR Script killed by user with SCRIPT KILL.").await;
    runner.hear().await;
    runner.ask("eval \"return 7\" 0", ":7\r\n").await;
    runner.send("eval \"while true do end\" 0").await;
    runner.expect("-ERR script ran longer than the engine allows and was stopped").await;
}

#[tokio::test]
async fn scan_returns_every_key_that_exists_all_the_time() {
    let mut client = Client::of("scan");
    let script = "for i = 1, 500 do redis.call('set', 'stay' .. i, i) redis.call('set', 'go' .. i, i) end return 1";
    client.ask(&format!("eval \"{script}\" 0"), ":1\r\n").await;
    // One script is one command, so the scan's steps and the deletions interleave inside it.
    let script = "local c, seen, n = '0', {}, 0 repeat local r = redis.call('scan', c, 'match', 'stay*') c = r[1] for _, k in ipairs(r[2]) do seen[k] = true end n = n + 1 redis.call('del', 'go' .. n) redis.call('set', 'new' .. n, 1) until c == '0' local m = 0 for _ in pairs(seen) do m = m + 1 end return m";
    client.ask(&format!("eval \"{script}\" 0"), ":500\r\n").await;
}

#[tokio::test]
async fn a_large_pipeline_does_not_need_its_replies_read_first() {
    let mut client = Client::of("pipeline");
    let value = "x".repeat(1024);
    let mut batch = String::new();
    for i in 0..20_000 {
        write!(batch, "set k{i} {value}\r\n").unwrap();
    }
    client.stream.write_all(batch.as_bytes()).await.unwrap();
    client.expect(&"+OK\r\n".repeat(20_000)).await;
}

#[tokio::test]
async fn clients_that_connect_after_a_password_was_set_must_give_it() {
    let mut first = Client::of("password");
    first.ask("config set requirepass open", "+OK\r\n").await;
    first.ask("get a", "$-1\r\n").await;
    let mut second = Client::of("password");
    second.ask("get a", "-NOAUTH Authentication required.\r\n").await;
    second.ask("auth shut", "-WRONGPASS invalid username-password pair or user is disabled.\r\n").await;
    second.ask("auth open", "+OK\r\n").await;
    second.ask("get a", "$-1\r\n").await;
    first.ask("reset", "+RESET\r\n").await;
    first.ask("get a", "-NOAUTH Authentication required.\r\n").await;
}

#[tokio::test]
async fn a_monitor_sees_commands_of_clients_transactions_and_scripts() {
    let (mut monitor, mut other) = (Client::of("monitor"), Client::of("monitor"));
    monitor.ask("monitor", "+OK\r\n").await;
    other.ask("auth default x", "+OK\r\n").await;
    other.ask("multi", "+OK\r\n").await;
    other.ask("set a \"\\x00\\n\\\"\"", "+QUEUED\r\n").await;
    other.ask("exec", "*1\r\n+OK\r\n").await;
    other.ask("eval \"return redis.call('get', 'b')\" 0", "$-1\r\n").await;
    let mut seen = String::new();
    while !seen.contains("\"get\"") {
        seen.push_str(&monitor.hear().await);
    }
    let commands: Vec<&str> =
        seen.lines().filter_map(|line| line.split_once("] ")).map(|(_, command)| command).collect();
    let script = "\"eval\" \"return redis.call('get', 'b')\" \"0\"";
    assert_eq!(commands, ["\"multi\"", "\"set\" \"a\" \"\\x00\\n\\\"\"", script, "\"get\" \"b\""]);
    assert!(seen.contains("[0 lua] \"get\" \"b\""), "{seen}");
}

/// A consumer that finds nothing must not wake the other consumers, because they would wake it again.
#[tokio::test]
async fn several_consumers_that_wait_for_one_entry_do_not_keep_the_engine_busy() {
    let (mut a, mut b, mut c) = (Client::of("consumers"), Client::of("consumers"), Client::of("consumers"));
    c.ask("xgroup create s g $ mkstream", "+OK\r\n").await;
    a.send("xreadgroup group g a block 0 streams s >").await;
    wait_for_blocked(&mut c, 1).await;
    b.send("xreadgroup group g b block 0 streams s >").await;
    wait_for_blocked(&mut c, 2).await;
    c.ask("xadd s 1-1 f v", "$3\r\n1-1\r\n").await;
    let entry = |id: &str| format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n{id}\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    a.expect(&entry("1-1")).await;
    c.ask("xadd s 2-1 f v", "$3\r\n2-1\r\n").await;
    b.expect(&entry("2-1")).await;
}

/// The clock or a command notices the end of a pause, whichever is first.
#[tokio::test]
async fn commands_that_a_pause_delayed_run_when_it_ends() {
    let (mut held, mut other) = (Client::of("paused"), Client::of("paused"));
    other.ask("client pause 30 write", "+OK\r\n").await;
    held.send("set a 1").await;
    let over = Instant::now() + Duration::from_millis(40);
    while Instant::now() < over {
        other.ask("ping", "+PONG\r\n").await;
    }
    held.expect("+OK\r\n").await;
}

#[tokio::test]
async fn a_long_script_does_not_delay_an_engine_on_another_thread() {
    let place = |name: &str| EngineName::Shared(name.to_owned()).place();
    let elsewhere = (0..1000).map(|i| format!("short commands {i}")).find(|name| place(name) != place("long script"));
    let (mut busy, mut killer) = (Client::of("long script"), Client::of("long script"));
    let mut other = Client::of(&elsewhere.expect("an engine on another thread"));
    busy.ask("config set lua-time-limit 1000", "+OK\r\n").await;
    busy.send("eval \"while true do end\" 0").await;
    for _ in 0..100 {
        other.ask("ping", "+PONG\r\n").await;
    }
    let mut chunk = [0; 1];
    let early = std::future::poll_fn(|cx| {
        let mut buffer = tokio::io::ReadBuf::new(&mut chunk);
        std::task::Poll::Ready(std::pin::Pin::new(&mut busy.stream).poll_read(cx, &mut buffer).is_ready())
    });
    assert!(!early.await, "the script was over before the other engine answered");
    killer.ask_until("script kill", "+OK").await;
    busy.expect("-ERR Script killed by user with SCRIPT KILL.").await;
}

#[tokio::test]
async fn a_transaction_that_meets_a_long_script_is_discarded_as_a_whole() {
    let (mut busy, mut other) = (Client::of("busy multi"), Client::of("busy multi"));
    busy.ask("config set lua-time-limit 1000", "+OK\r\n").await;
    other.ask("multi", "+OK\r\n").await;
    other.ask("set a 1", "+QUEUED\r\n").await;
    busy.send("eval \"while true do end\" 0").await;
    other.send("set b 2").await;
    let busy_text = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    // The command may have been handled before the script or during it; the result is the same.
    if other.hear().await.starts_with("+QUEUED") {
        other.ask_until("ping", "-BUSY").await;
    }
    other.ask("exec", &format!("-EXECABORT Transaction discarded because of: {busy_text}")).await;
    other.ask("get a", &format!("-{busy_text}")).await;
    other.ask("multi", "+OK\r\n").await;
    other.ask("discard", "+OK\r\n").await;
    other.ask("watch a", "+OK\r\n").await;
    other.ask("script kill", "+OK\r\n").await;
    busy.expect("-ERR Script killed by user with SCRIPT KILL.").await;
    other.ask("mget a b", "*2\r\n$-1\r\n$-1\r\n").await;
}

#[tokio::test]
async fn scripts_that_run_in_coroutines_or_return_nested_tables_are_stopped() {
    let mut client = Client::of("hiding");
    client.ask("config set lua-time-limit 20", "+OK\r\n").await;
    let hides = "while true do pcall(function() while true do coroutine.resume(coroutine.create(function() while true do end end)) end end) end";
    client.send(&format!("eval \"{hides}\" 0")).await;
    let reply = client.hear().await;
    assert!(reply.starts_with("-ERR Script killed"), "{reply}");
    let grows = "local t = {} for i = 1, 40 do t = { t, t } end return t";
    client.send(&format!("eval \"{grows}\" 0")).await;
    client.send("echo over").await;
    let mut seen = String::new();
    while !seen.ends_with("$4\r\nover\r\n") {
        seen.push_str(&client.hear().await);
    }
    assert!(seen.contains("-ERR reached lua stack limit"));
}

#[tokio::test]
async fn a_waiting_client_that_disconnects_takes_nothing_from_others() {
    let mut other = Client::of("hung up");
    other.ask("ping", "+PONG\r\n").await;
    let control = Control::of("hung up").unwrap();
    control.pause().unwrap();
    let mut gone = Client::of("hung up");
    gone.send("blpop l 0").await;
    gone.stream.flush().await.unwrap();
    drop(gone);
    control.resume().unwrap();
    wait_for_blocked(&mut other, 0).await;
    other.ask("rpush l job", ":1\r\n").await;
    other.ask("lrange l 0 -1", "*1\r\n$3\r\njob\r\n").await;
}

#[tokio::test]
async fn the_memory_of_a_list_is_that_of_all_its_elements() {
    let mut client = Client::of("list memory");
    client.ask("ping", "+PONG\r\n").await;
    let control = Control::of("list memory").unwrap();
    control.max_memory(Some(20_000_000)).unwrap();
    // One large element counts once among small ones, at any position.
    client.ask("eval \"redis.call('rpush', 'a', string.rep('x', 1000000)) for i = 1, 1000 do redis.call('rpush', 'a', 'y') end return redis.call('llen', 'a')\" 0", ":1001\r\n").await;
    client.ask("rpush a y", ":1002\r\n").await;
    client
        .ask(
            "eval \"for i = 1, 30 do redis.call('linsert', 'a', 'after', 'y', string.rep('x', 1000000)) end\" 0",
            "$-1\r\n",
        )
        .await;
    client.ask("rpush a y", "-OOM command not allowed when used memory > 'maxmemory'.\r\n").await;
}

/// The limits and differences that the documentation names.
#[tokio::test]
async fn scripts_have_the_documented_limits() {
    let mut client = Client::of("script limits");
    let pushes = |n: u32| {
        format!("eval \"local t = {{}} for i = 1, {n} do t[i] = 'x' end return redis.call('rpush', 'l', unpack(t))\" 0")
    };
    client.ask(&pushes(7_960), ":7960\r\n").await;
    let nothing = "local n = 0 for _ in pairs(string) do n = n + 1 end for _ in pairs(_G) do n = n + 1 end return n";
    client.ask(&format!("eval \"{nothing}\" 0"), ":0\r\n").await;
}

#[tokio::test]
async fn a_client_that_connects_while_a_script_runs_is_answered_and_may_kill_the_script() {
    let (mut runner, mut witness) = (Client::of("busy newcomer"), Client::of("busy newcomer"));
    runner.ask("config set lua-time-limit 1000", "+OK\r\n").await;
    witness.ask("ping", "+PONG\r\n").await;
    // The time limit applies also within one call of a library function.
    runner.send("eval \"return string.find(string.rep('a', 30000), '.-.-.-.-.-b')\" 0").await;
    witness.send("ping").await;
    // The script has exceeded its time limit; at twice the limit it is stopped.
    let busy_text = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    witness.expect(busy_text).await;
    let mut newcomer = Client::of("busy newcomer");
    newcomer.ask("ping", busy_text).await;
    // This client disconnects before the script ends.
    drop(Client::of("busy newcomer"));
    newcomer.ask("script kill", "+OK\r\n").await;
    runner.expect("-ERR Script killed by user with SCRIPT KILL.").await;
    newcomer.ask("echo on", "$2\r\non\r\n").await;
    witness.ask("echo on", "$2\r\non\r\n").await;
}

#[tokio::test]
async fn an_engine_keeps_more_scripts_than_the_stack_of_lua_has_slots() {
    let mut client = Client::of("many scripts");
    client.ask("set kept 1", "+OK\r\n").await;
    for n in 0..9000 {
        client.ask(&format!("eval \"return {n}\" 0"), &format!(":{n}\r\n")).await;
    }
    client.ask("get kept", "$1\r\n1\r\n").await;
}
