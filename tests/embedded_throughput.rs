//! GETs and SETs on the embedded engine and on a real `redis-server` over loopback TCP, in the same run and by the
//! same code. Ignored by default: `cargo test --release --no-default-features --test embedded_throughput -- --ignored --nocapture`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis_backplane::embedded;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Commands per second with `batch` commands in flight. Every reply has `reply` bytes.
async fn rate<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, command: &[u8], reply: usize, batch: usize) -> f64 {
    let request = command.repeat(batch);
    let mut answer = vec![0; reply * batch];
    let started = Instant::now();
    let mut done = 0u32;
    while started.elapsed() < Duration::from_millis(1500) {
        stream.write_all(&request).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        done += u32::try_from(batch).unwrap();
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}

async fn measure<S: AsyncRead + AsyncWrite + Unpin>(name: &str, stream: &mut S) {
    let value = "v".repeat(80);
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$80\r\n{value}\r\n").into_bytes();
    let get = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".to_vec();
    for (verb, command, reply) in [("SET", &set, 5), ("GET", &get, 87)] {
        for batch in [1, 64, 1000] {
            let rate = rate(stream, command, reply, batch).await;
            eprintln!("{name:>12} {verb} {batch:>5} in flight: {rate:>10.0}/s");
        }
    }
}

#[test]
#[ignore = "a measurement, not a check"]
fn throughput_beside_a_real_server() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", ""])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server 7.0 must be installed and on the PATH (Debian: apt-get install redis-server)");
    let _server = Server(child);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tcp = loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        tcp.set_nodelay(true).unwrap();
        measure("redis-server", &mut tcp).await;
        measure("embedded", &mut embedded::connect(None)).await;
    });
}
