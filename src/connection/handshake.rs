//! The handshake of a connection: protocol, credentials, name, database.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::config::Config;
use super::dial::{Stream, is_tls};
use super::server_info::{ServerInfo, describe, field};
use super::target::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::{self, Read, Reader, Reply};

/// A stream that is ready for commands.
pub(super) struct Greeted {
    pub stream: Box<dyn Stream>,
    /// The start of a reply whose end is not received yet: the next bytes of the stream continue it.
    pub input: BytesMut,
    /// Reads replies up to a limit, and hides the password that was sent to the server.
    pub reader: Reader,
    pub server: ServerInfo,
    /// The address of the server, where sentinels or a cluster gave it.
    pub address: Option<Address>,
}

/// The pause between two `PING`s to a server that is loading its data.
const LOADING_PAUSE: Duration = Duration::from_millis(50);

/// The message of the error when the server accepts the connection and then closes it, as a server that expects TLS does.
pub(super) const WITHOUT_A_WORD: &str = "the server ended the connection without a word";

/// Does the handshake on a new stream. The client asks for RESP3, and uses RESP2 where the server refuses `HELLO`. The names of the
/// client and of its library are optional: the server may refuse them. Any answer to `PING` means that the server lives.
///
/// # Errors
///
/// `auth` for refused or missing credentials, `server` for a refused database, `connection` if the stream ends. The function waits
/// for a server that is loading its data; the caller limits the time.
pub(super) async fn greet(config: &Config, stream: Box<dyn Stream>) -> Result<Greeted> {
    let password = config.password.get().await?;
    let password = password.as_ref().map(super::secret::Secret::reveal);
    let hidden = password.map(|password| Bytes::copy_from_slice(password.as_bytes()));
    let mut wire = Wire::new(stream, Reader::new(config.max_reply_bytes).hiding(hidden));

    let server = introduce(config, password, &mut wire).await?;
    wire.ask_optional(&["CLIENT", "SETNAME", &config.client_name]).await?;
    if config.db != 0 {
        wire.ask(&["SELECT", &config.db.to_string()]).await?;
    }
    for (what, value) in [("LIB-NAME", "redis-backplane"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
        wire.ask_optional(&["CLIENT", "SETINFO", what, value]).await?;
    }
    // Any answer but `LOADING` means that the server is ready.
    while wire.ask_optional(&["PING"]).await? == Said::IsLoading {
        tokio::time::sleep(LOADING_PAUSE).await;
    }
    wire.into_greeted(server, None)
}

/// Sends the credentials, with `HELLO` where the server takes it. Where a server or a proxy refuses `HELLO` for a reason other than
/// the credentials, RESP2 is used.
async fn introduce(config: &Config, password: Option<&str>, wire: &mut Wire) -> Result<ServerInfo> {
    let user = config.username.as_deref();
    let hello = match password {
        Some(password) => wire.ask(&["HELLO", "3", "AUTH", user.unwrap_or("default"), password]).await,
        None => wire.ask(&["HELLO", "3"]).await,
    };
    let refused = match hello {
        Ok(reply) => return Ok(ServerInfo { protocol: 3, ..describe(&reply) }),
        Err(error) if !error.is_reply() || are_credentials_refused(&error, password) => return Err(error),
        Err(error) => error,
    };
    // Where the server closes the connection after its refusal, the refusal is the reason.
    let or_why = |error: Error| if error.is_reply() { error } else { refused.clone() };
    if let Some(password) = password {
        match user {
            Some(user) => wire.ask(&["AUTH", user, password]).await.map_err(or_why)?,
            None => wire.ask(&["AUTH", password]).await.map_err(or_why)?,
        };
    }
    let mut server = describe(&Reply::Nil);
    match wire.ask(&["INFO", "server"]).await {
        Ok(Reply::Bulk(info)) => {
            let info = String::from_utf8_lossy(&info);
            if let Some(version) = field(&info, "redis_version") {
                version.clone_into(&mut server.version);
            }
        }
        Err(error) if !error.is_reply() => return Err(or_why(error)),
        Ok(_) | Err(_) => {}
    }
    Ok(server)
}

/// Did the server refuse `HELLO` because of wrong or missing credentials? A user without the permission for `HELLO` can have the
/// right ones.
fn are_credentials_refused(error: &Error, password: Option<&str>) -> bool {
    match error.server_code() {
        Some("NOPERM") => false,
        Some("NOAUTH") => password.is_none(),
        _ => error.kind() == ErrorKind::Auth,
    }
}

/// The answer to an optional command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    IsLoading,
    Other,
}

/// A stream for one command at a time.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    reader: Reader,
    /// Was anything received?
    heard: bool,
    /// Was a push received?
    pushed: bool,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, reader: Reader) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(4096), reader, heard: false, pushed: false }
    }

    /// The stream of `greeted` for further commands, and what is known of its server.
    pub(super) fn of(greeted: Greeted) -> (Self, ServerInfo, Option<Address>) {
        let Greeted { stream, input, reader, server, address } = greeted;
        (Self { stream, buffer: input, reader, heard: true, pushed: false }, server, address)
    }

    /// Gives the stream back after the last command. Fails on a reply without a request, because this reply would be taken for the
    /// answer to the next command.
    pub(super) fn into_greeted(mut self, server: ServerInfo, address: Option<Address>) -> Result<Greeted> {
        while let Some(reply) = self.take()? {
            if !matches!(reply, Reply::Push(_)) {
                return Err(unasked());
            }
        }
        Ok(Greeted { stream: self.stream, input: self.buffer, reader: self.reader, server, address })
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    fn lost(&self, e: std::io::Error) -> Error {
        let kind = if is_tls(&e) { ErrorKind::Tls } else { ErrorKind::Connection };
        let message = if self.heard || kind == ErrorKind::Tls {
            format!("the connection broke while it was being set up: {e}")
        } else {
            WITHOUT_A_WORD.to_owned()
        };
        Error::new(kind, message).caused_by(e)
    }

    /// Sends an optional command. Fails only where the server demands credentials, or the connection is lost.
    async fn ask_optional(&mut self, words: &[&str]) -> Result<Said> {
        match self.ask(words).await {
            Ok(_) => Ok(Said::Other),
            Err(error) if !error.is_reply() || error.server_code() == Some("NOAUTH") => Err(error),
            Err(error) if error.server_code() == Some("LOADING") => Ok(Said::IsLoading),
            Err(_) => Ok(Said::Other),
        }
    }

    /// Sends a command and gives the answer. An error reply is an `Err`.
    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        let mut out = BytesMut::new();
        resp::pack(&mut out, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        if let Err(e) = self.send(&out).await {
            // A TLS alert that the peer sent before it closed the connection tells more: a client's certificate is refused after
            // the TLS handshake.
            return Err(match self.stream.read_buf(&mut self.buffer).await {
                Err(said) if is_tls(&said) => self.lost(said),
                _ => self.lost(e),
            });
        }
        self.answer().await
    }

    /// Sends several commands at once; each is followed by an [`answer`](Self::answer).
    pub(super) async fn send_all(&mut self, commands: &[&[&str]]) -> Result<()> {
        let mut out = BytesMut::new();
        for words in commands {
            resp::pack(&mut out, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        }
        self.send(&out).await.map_err(|e| self.lost(e))
    }

    /// The next answer; an error reply is an `Err`.
    pub(super) async fn answer(&mut self) -> Result<Reply> {
        loop {
            match self.next().await? {
                Reply::Error(line) => return Err(Error::from_reply(&String::from_utf8_lossy(&line))),
                Reply::Push(_) => self.pushed = true,
                reply => return Ok(reply),
            }
        }
    }

    /// Ends when a push was received. A drop of the future loses nothing.
    pub(super) async fn pushed(&mut self) -> Result<()> {
        while !std::mem::take(&mut self.pushed) {
            match self.next().await? {
                Reply::Push(_) => self.pushed = true,
                _ => return Err(unasked()),
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Reply> {
        loop {
            if let Some(reply) = self.take()? {
                return Ok(reply);
            }
            let count = self.stream.read_buf(&mut self.buffer).await.map_err(|e| self.lost(e))?;
            if count == 0 {
                return Err(self.lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.heard = true;
        }
    }

    /// The next reply among the received bytes.
    fn take(&mut self) -> Result<Option<Reply>> {
        match self.reader.next(&mut self.buffer) {
            Ok(Some(Read::Reply(reply))) => Ok(Some(reply)),
            Ok(Some(Read::Passed(passed))) if passed.is_push => Ok(Some(Reply::Push(Vec::new()))),
            Ok(Some(Read::Passed(_))) => Err(Error::new(ErrorKind::Connection, "the server's answer is too long")),
            Ok(None) => Ok(None),
            Err(e) => Err(Error::new(ErrorKind::Connection, e.to_string()).caused_by(e)),
        }
    }
}

fn unasked() -> Error {
    Error::new(ErrorKind::Connection, "the server sent a reply without a request")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    impl Stream for tokio::io::DuplexStream {}

    /// A handshake with a server that sends `more` after its five answers.
    async fn greeted(more: &str) -> Result<Greeted> {
        let (ours, mut theirs) = duplex(4096);
        let answers = ["%0\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n"];
        let more = format!("+PONG\r\n{more}");
        let server = async move {
            let mut asked = [0; 1024];
            for answer in answers.into_iter().chain([&*more]) {
                assert_ne!(theirs.read(&mut asked).await.unwrap(), 0);
                theirs.write_all(answer.as_bytes()).await.unwrap();
            }
            theirs
        };
        let (config, _) = Config::parse("{}").unwrap();
        let (greeted, _) = tokio::join!(greet(&config, Box::new(ours)), server);
        greeted
    }

    #[tokio::test]
    async fn the_start_of_a_push_behind_the_handshake_is_not_lost() {
        let greeted = greeted(">2\r\n+invalidate\r\n").await.unwrap();
        let (mut reader, mut input) = (greeted.reader, greeted.input);
        assert_eq!(reader.next(&mut input).unwrap(), None);
        input.extend_from_slice(b"_\r\n+OK\r\n");
        assert!(matches!(reader.next(&mut input), Ok(Some(Read::Passed(passed))) if passed.is_push));
        assert_eq!(reader.next(&mut input).unwrap(), Some(Read::Reply(Reply::Simple("OK".into()))));
    }

    #[tokio::test]
    async fn a_reply_without_a_request_fails_the_handshake_and_a_push_does_not() {
        assert!(greeted(">2\r\n+invalidate\r\n_\r\n").await.unwrap().input.is_empty());
        let error = greeted("+OK\r\n").await.err().unwrap();
        assert_eq!(error.message(), "the server sent a reply without a request");
    }
}
