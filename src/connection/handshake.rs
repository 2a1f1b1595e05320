//! The first words on a connection: protocol, credentials, name, database.

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
    /// The start of a reply whose end has not come yet: the next bytes of the stream continue it.
    pub input: BytesMut,
    /// Bounds replies, and hides the password that the server was given.
    pub reader: Reader,
    pub server: ServerInfo,
    /// Where the server is, if it is the one that sentinels name.
    pub address: Option<Address>,
}

/// The least time between two looks at a server that is loading its data.
const LOADING_PAUSE: Duration = Duration::from_millis(50);

/// The message of the error when the server accepts and hangs up, as one does that expects TLS.
pub(super) const WITHOUT_A_WORD: &str = "the server ended the connection without a word";

/// Introduces this client on a fresh stream. RESP3 is asked for; a server that takes no `HELLO` is spoken to in RESP2. The name of
/// this client and of its library are courtesies: no refusal of them costs the connection, and any answer to `PING` is one of a live
/// server.
///
/// # Errors
///
/// `auth` for refused or missing credentials, `server` for a refused database, `connection` if the stream ends. A server that is
/// loading its data is waited for; the caller bounds how long.
pub(super) async fn greet(config: &Config, stream: Box<dyn Stream>) -> Result<Greeted> {
    let password = config.password.get().await?;
    let password = password.as_ref().map(super::secret::Secret::reveal);
    let hidden = password.map(|password| Bytes::copy_from_slice(password.as_bytes()));
    let mut wire = Wire::new(stream, Reader::new(config.max_reply_bytes).hiding(hidden));

    let server = introduce(config, password, &mut wire).await?;
    wire.mention(&["CLIENT", "SETNAME", &config.client_name]).await?;
    if config.db != 0 {
        wire.ask(&["SELECT", &config.db.to_string()]).await?;
    }
    for (what, value) in [("LIB-NAME", "redis-backplane"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
        wire.mention(&["CLIENT", "SETINFO", what, value]).await?;
    }
    // Whatever else it answers, it lives.
    while wire.mention(&["PING"]).await? == Said::IsLoading {
        tokio::time::sleep(LOADING_PAUSE).await;
    }
    wire.into_greeted(server, None)
}

/// Gives the credentials, with `HELLO` where the server takes it. Whatever else it is that a server or a proxy refuses of `HELLO`, in
/// whatever words, it is spoken to in RESP2.
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
    // One that hangs up behind its refusal has said why.
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

/// Is it the credentials, or that there are none, that `HELLO` was refused for? A user that may not say `HELLO` can have right ones.
fn are_credentials_refused(error: &Error, password: Option<&str>) -> bool {
    match error.server_code() {
        Some("NOPERM") => false,
        Some("NOAUTH") => password.is_none(),
        _ => error.kind() == ErrorKind::Auth,
    }
}

/// What a server says to something that it need not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    IsLoading,
    Other,
}

/// A stream on which one question is asked at a time.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    reader: Reader,
    /// Has anything come?
    heard: bool,
    /// Has something come that was not asked for?
    pushed: bool,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, reader: Reader) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(4096), reader, heard: false, pushed: false }
    }

    /// The same stream, to be asked something more, and what is known of its server.
    pub(super) fn of(greeted: Greeted) -> (Self, ServerInfo, Option<Address>) {
        let Greeted { stream, input, reader, server, address } = greeted;
        (Self { stream, buffer: input, reader, heard: true, pushed: false }, server, address)
    }

    /// The stream, when nothing more is to be asked. An answer to no question would be taken for that to the next one.
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

    /// Says what the server may refuse, unless it is for want of credentials.
    async fn mention(&mut self, words: &[&str]) -> Result<Said> {
        match self.ask(words).await {
            Ok(_) => Ok(Said::Other),
            Err(error) if !error.is_reply() || error.server_code() == Some("NOAUTH") => Err(error),
            Err(error) if error.server_code() == Some("LOADING") => Ok(Said::IsLoading),
            Err(_) => Ok(Said::Other),
        }
    }

    /// Asks; an error reply is an `Err`.
    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        let mut out = BytesMut::new();
        resp::pack(&mut out, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        if let Err(e) = self.send(&out).await {
            // What a peer said before it hung up tells more: a certificate that is refused is refused after the handshake.
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

    /// Ends when something has come that was not asked for. Dropped early, it loses nothing.
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

    /// The next reply of what has come.
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

    /// A server whose answers to the five questions of a handshake are followed by `more`.
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
    async fn the_begin_of_a_push_behind_the_handshake_is_not_lost() {
        let greeted = greeted(">2\r\n+invalidate\r\n").await.unwrap();
        let (mut reader, mut input) = (greeted.reader, greeted.input);
        assert_eq!(reader.next(&mut input).unwrap(), None);
        input.extend_from_slice(b"_\r\n+OK\r\n");
        assert!(matches!(reader.next(&mut input), Ok(Some(Read::Passed(passed))) if passed.is_push));
        assert_eq!(reader.next(&mut input).unwrap(), Some(Read::Reply(Reply::Simple("OK".into()))));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_asked_for_is_no_answer_to_the_next_question() {
        assert!(greeted(">2\r\n+invalidate\r\n_\r\n").await.unwrap().input.is_empty());
        let error = greeted("+OK\r\n").await.err().unwrap();
        assert_eq!(error.message(), "the server sent a reply without a request");
    }
}
