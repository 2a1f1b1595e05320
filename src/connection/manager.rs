//! The handle of a connection manager: cheap to clone, usable from any thread.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Control};
use super::cluster::SlotMap;
use super::command::{self, Command, Dispatch};
use super::config::Config;
use super::core::Core;
use super::cursor::Origin;
use super::event::Observer;
use super::exclusive;
use super::request::Destination;
use super::request::Sink;
use super::server_info::ServerInfo;
use super::shared::Shared;
use super::state::State;
use super::subscriber::{Channel, Listener, Subscriber, Subscription};
use super::target::Target;
use crate::embedded;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys::Namespace;
use crate::lifecycle;
use crate::resp::{self, Reply};
use crate::telemetry::{Metrics, Operation};

/// The connections to one Redis. They end when the last clone is dropped.
#[derive(Clone)]
pub struct Manager {
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
    control: mpsc::UnboundedSender<Control>,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("target", &self.shared.core.config.target)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// Opens nothing unless `lazy_connect` is off.
    ///
    /// # Errors
    ///
    /// `connection`: the operating system refuses what the I/O thread needs. The first manager starts this thread.
    pub fn new(config: Config, observer: Arc<dyn Observer>) -> Result<Self> {
        let io = lifecycle::start().map_err(|e| {
            Error::new(ErrorKind::Connection, format!("the operating system refuses what the I/O thread needs: {e}"))
                .caused_by(e)
        })?;
        let lazy = config.lazy_connect;
        let shared = Arc::new(Shared::new(Core::new(config, observer)));
        let (control, commands) = mpsc::unbounded_channel();
        let actor = {
            // The actor's timer belongs to the runtime of the I/O thread.
            let _runtime = io.enter();
            Actor::new(Arc::clone(&shared), commands)
        };
        lifecycle::spawn(actor.run());
        let subscriber = Arc::new(Subscriber::new(Arc::clone(&shared)));
        let manager = Self { shared, subscriber, control };
        if !lazy {
            let (done, _) = oneshot::channel();
            // The actor lives as long as this handle.
            let _ = manager.control.send(Control::Connect { done, reopens: true });
        }
        Ok(manager)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// Connects. Concurrent callers share one attempt. In state `ready` the call does nothing; after `failed` or `closed` it starts
    /// again. The call itself is ordered among the calls of `connect` and `disconnect`; the future only waits.
    ///
    /// # Errors
    ///
    /// The failure of the attempt; `closed` if `disconnect()` was called meanwhile; `timeout` if a lost connection is not restored
    /// within `connectTimeoutMs`.
    pub fn connect(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.start_connect(true)
    }

    /// As [`connect`](Self::connect), for callers other than the user: a manager that the user has disconnected stays so.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); `closed` after `disconnect()`.
    pub fn connect_unless_closed(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.start_connect(false)
    }

    fn start_connect(&self, reopens: bool) -> impl Future<Output = Result<()>> + Send + use<> {
        let (done, outcome) = oneshot::channel();
        // The send fails only after the end of the actor; `outcome` is closed then.
        let _ = self.control.send(Control::Connect { done, reopens });
        let manager = self.clone();
        async move { manager.connected(outcome).await }
    }

    async fn connected(&self, outcome: oneshot::Receiver<Result<()>>) -> Result<()> {
        let config = &self.shared.core.config;
        let attempts = config.connect_retries.saturating_add(1);
        let limit = (config.connect_timeout + config.reconnect.max).saturating_mul(attempts);
        match timeout(limit, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.shared.core.closed()),
            Err(_) => {
                let error = Error::new(ErrorKind::Timeout, format!("not connected within {} ms", limit.as_millis()));
                Err(match self.shared.core.status.last_error() {
                    Some(cause) => error.caused_by(cause),
                    None => error,
                })
            }
        }
    }

    /// Ends every connection, after all accepted commands are answered or `closeTimeoutMs` has passed. Idempotent. Commands are
    /// refused from the call on, before the future is polled.
    pub fn disconnect(&self) -> impl Future<Output = ()> + Send + use<> {
        let (done, ended) = oneshot::channel();
        self.shared.shut();
        // The send fails only after the end of the actor; `ended` is closed then.
        let _ = self.control.send(Control::Close(done));
        let manager = self.clone();
        async move { manager.disconnected(ended).await }
    }

    async fn disconnected(&self, ended: oneshot::Receiver<()>) {
        // Answered when all has ended. An error means that the actor has ended, which is the same.
        let _ = ended.await;
        self.shared.core.exclusive.close();
        let grace = self.shared.core.config.close_timeout + Duration::from_secs(1);
        let _ = timeout(grace, self.shared.core.exclusive.wait()).await;
        self.shared.core.exclusive.reopen();
        let _ = timeout(grace, self.shared.core.topology.unwatched()).await;
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.shared.core.status.state()
    }

    /// Resolves when the connection is not, or no longer, usable.
    pub fn unready(&self) -> impl Future<Output = ()> + Send + use<> {
        let core = Arc::clone(&self.shared.core);
        async move { core.status.unready().await }
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.core.config
    }

    /// The time that a test has added to the clock of an embedded server. Zero for any other server.
    #[must_use]
    pub fn time_added(&self) -> Duration {
        match &self.shared.core.config.target {
            Target::Memory(Some(name)) => embedded::time_added(name),
            _ => Duration::ZERO,
        }
    }

    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.shared.core.config.namespace
    }

    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.core.metrics
    }

    /// Cancelled when `disconnect()` begins. Tasks that renew something end then.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.shared.core.interruption()
    }

    /// No caller is left that could wait for an answer. Blocking commands are ended, because an element that such a command pops
    /// would be lost. All other commands go on to their ends.
    pub fn end_blocking_commands(&self) {
        self.shared.core.callers_gone.cancel();
    }

    /// Accepts a command; commands are sent in the order they are accepted. Its sink is settled exactly once, within
    /// `commandTimeoutMs`.
    pub fn submit(&self, command: Command, sink: Sink) {
        self.shared.submit(command, sink);
    }

    /// Accepts a command that blocks its connection, for `blocks_for` or until the connection ends.
    pub fn submit_blocking(&self, command: Command, sink: Sink, blocks_for: Option<Duration>) {
        exclusive::submit(&self.shared, command, sink, blocks_for);
    }

    /// Subscribes `listener` to `channel`. The listener is registered at once. The future resolves when the server has confirmed;
    /// the listener gets every message that is published after that. All listeners of a channel share one subscription on the
    /// server. A drop of the future, or of its result, ends the subscription.
    ///
    /// A manager that is not connected connects, as for a command. So a caller that only subscribes also learns at once why there is
    /// no server, and the manager's state says that the manager is in use.
    ///
    /// # Errors
    ///
    /// The errors of `connect()`; the server's error where the server refuses; `timeout` when the server does not confirm within
    /// `commandTimeoutMs`; `closed`.
    pub fn subscribe(
        &self,
        channel: Channel,
        listener: Arc<dyn Listener>,
    ) -> impl Future<Output = Result<Subscription>> + Send + use<> {
        let confirmed = self.subscriber.subscribe(channel, listener);
        let must_connect = matches!(self.state(), State::Idle | State::Connecting | State::Failed);
        let connected = must_connect.then(|| self.connect_unless_closed());
        async move {
            match connected {
                Some(connected) => tokio::try_join!(connected, confirmed).map(|((), subscription)| subscription),
                None => confirmed.await,
            }
        }
    }

    /// Resolves when every subscription is confirmed, or at once where there is no subscription.
    ///
    /// # Errors
    ///
    /// `timeout` after `commandTimeoutMs`; `closed`.
    pub fn subscribed(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.subscriber.subscribed()
    }

    /// Accepts one command in the call itself. The future gives the answer. An error reply is an `Err`.
    pub fn call(&self, command: Command) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let (sink, answer) = oneshot::channel();
        self.submit(command, Sink::Waiter(sink));
        self.answered(answer)
    }

    /// As [`Manager::call`], and also gives the connection of the answer: see [`Cursor`](super::Cursor).
    pub fn call_located(&self, command: Command) -> impl Future<Output = Result<(Reply, Origin)>> + Send + use<> {
        self.call_at(command, None)
    }

    /// As [`Manager::call_located`], at a place in a cluster.
    pub(super) fn call_at(
        &self,
        command: Command,
        destination: Option<Destination>,
    ) -> impl Future<Output = Result<(Reply, Origin)>> + Send + use<> {
        let (sink, answer) = oneshot::channel();
        self.shared.submit_at(command, Sink::Located(sink), destination, false);
        self.answered(answer)
    }

    /// The first answer of the server at `destination`. The command is not repeated, even if the server says "not here" or "not
    /// now".
    pub(super) fn call_plainly(
        &self,
        command: Command,
        destination: Option<Destination>,
    ) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let (sink, answer) = oneshot::channel();
        self.shared.submit_at(command, Sink::Waiter(sink), destination, true);
        self.answered(answer)
    }

    /// The outcome of a request. Every request is settled, so the error of a closed manager is never returned in practice.
    fn answered<T: Send>(
        &self,
        answer: oneshot::Receiver<Result<T>>,
    ) -> impl Future<Output = Result<T>> + Send + use<T> {
        let core = Arc::clone(&self.shared.core);
        async move { answer.await.unwrap_or_else(|_| Err(core.closed())) }
    }

    /// The server that answered last.
    pub(super) fn server(&self) -> Option<ServerInfo> {
        self.shared.core.status.server()
    }

    /// The known slot map, where there is a cluster.
    pub(super) fn map(&self) -> Option<Arc<SlotMap>> {
        self.shared.core.topology.map()
    }

    /// Has the topology asked for again, because a server contradicts the known topology.
    pub(super) fn request_topology_refresh(&self) {
        self.shared.core.topology.request_refresh();
    }

    /// Packs one command given by its words, and says on which connection it is sent.
    ///
    /// # Errors
    ///
    /// `config`, see [`command::Spec::dispatch`].
    pub fn prepare(&self, words: &[&[u8]]) -> Result<(Command, Dispatch)> {
        let Some((name, args)) = words.split_first().filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::config("command: expected the name of a Redis command, got an empty one"));
        };
        let spec = command::spec(words);
        let dispatch = spec.dispatch(name, args, self.shared.core.config.command_timeout)?;
        let mut payload = BytesMut::with_capacity(words.iter().map(|word| word.len() + 16).sum());
        resp::pack(&mut payload, words);
        let command = Command { safe: spec.is_safe(args), ..Command::raw(payload.freeze(), spec.operation) };
        Ok((command, dispatch))
    }

    /// Packs `MULTI`, the commands and `EXEC`. [`transaction_outcome`](Self::transaction_outcome) reads the answer.
    ///
    /// # Errors
    ///
    /// `config` for a command that cannot be in a transaction.
    pub fn prepare_transaction(&self, commands: &[Vec<&[u8]>]) -> Result<Command> {
        let mut payload = BytesMut::with_capacity(256);
        resp::pack(&mut payload, &[b"MULTI"]);
        for words in commands {
            let (command, _) = self.prepare(words)?;
            payload.extend_from_slice(&command.payload);
        }
        resp::pack(&mut payload, &[b"EXEC"]);
        let replies =
            u32::try_from(commands.len() + 2).map_err(|_| Error::config("transaction: expected fewer commands"))?;
        Ok(Command { replies, ..Command::raw(payload.freeze(), Operation::named("transaction")) })
    }

    /// Reads the replies of a transaction: the results, or the error.
    ///
    /// # Errors
    ///
    /// `rejected` if Redis refused a command and executed none. `maybe-executed`, with the number of the command, if one command
    /// failed and Redis executed the others. `maybe-executed` too if Redis refused `MULTI` and then executed commands on their own.
    pub fn transaction_outcome(reply: Reply) -> Result<Vec<Reply>> {
        let unexpected = || Error::unexpected_reply().to_command(|| "`EXEC`".to_owned());
        let Reply::Array(mut replies) = reply else {
            return Err(unexpected());
        };
        let error_of = |line: &[u8]| Error::from_reply(&String::from_utf8_lossy(line));
        match replies.pop() {
            Some(Reply::Array(results)) => {
                let failed = results.iter().enumerate().find_map(|(at, result)| match result {
                    Reply::Error(line) => Some((at, error_of(line))),
                    _ => None,
                });
                match failed {
                    None => Ok(results),
                    Some((at, error)) => Err(error
                        .with_message(|message| {
                            format!("command {} of the transaction failed, the others were executed: {message}", at + 1)
                        })
                        .with_delivery(Delivery::MaybeExecuted)),
                }
            }
            Some(Reply::Error(line)) => {
                let refused = |reply: &Reply| match reply {
                    Reply::Error(line) => Some(error_of(line)),
                    _ => None,
                };
                let first = replies.iter().find_map(refused);
                // Without `MULTI` Redis executes each command on its own. A user without permissions gets the same code for every
                // command.
                let came_apart = replies.first().and_then(refused).is_some_and(|multi| {
                    replies
                        .iter()
                        .any(|reply| refused(reply).is_none_or(|error| error.server_code() != multi.server_code()))
                });
                Err(match first {
                    Some(first) if came_apart => first
                        .with_message(|message| {
                            format!(
                                "MULTI was refused, and commands of the transaction were executed without it: {message}"
                            )
                        })
                        .with_delivery(Delivery::MaybeExecuted),
                    Some(first) => first.with_message(|message| format!("the transaction was not executed: {message}")),
                    None => error_of(&line),
                })
            }
            _ => Err(unexpected()),
        }
    }

    /// The time of one round trip.
    pub async fn ping(&self) -> Result<Duration> {
        let (command, _) = self.prepare(&[b"PING"])?;
        let begin = Instant::now();
        self.call(command).await?;
        Ok(begin.elapsed())
    }
}
