//! The I/O thread of the process, and its tasks.
//!
//! Every connection actor, lease renewal and timer of every manager is a task of one current-thread runtime. The only cost is one
//! change of threads per batch. No lock is held across an await. The thread starts with the first manager and ends with the process;
//! it never waits for JavaScript.
//!
//! The operating system may refuse a thread or a descriptor now, and give one later. So [`start`] and [`blocking`] return the failure,
//! and can be called again.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{OnceLock, mpsc};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::sync::Mutex;

static IO: OnceLock<Handle> = OnceLock::new();
/// Locked while the thread is being started.
static STARTING: Mutex<()> = Mutex::new(());

/// Starts the I/O thread, unless it runs.
///
/// # Errors
///
/// The operating system gives no thread, or no descriptors for its event queue.
pub fn start() -> io::Result<&'static Handle> {
    if let Some(handle) = IO.get() {
        return Ok(handle);
    }
    let _starting = STARTING.lock();
    if let Some(handle) = IO.get() {
        return Ok(handle);
    }
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("redis-backplane".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(send.send(Err(error))),
        };
        if send.send(Ok(runtime.handle().clone())).is_ok() {
            runtime.block_on(std::future::pending::<()>());
        }
    })?;
    let handle = receive.recv().unwrap_or_else(|_| Err(ended("the I/O thread")))?;
    Ok(IO.get_or_init(|| handle))
}

/// The runtime of the I/O thread.
///
/// # Panics
///
/// If no [`start`] has succeeded. Every manager has called it.
#[must_use]
pub fn io() -> &'static Handle {
    start().expect("the I/O thread runs: a manager was made")
}

/// Runs `task` on the I/O thread.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    io().spawn(task)
}

/// The output of `work`, or `None` where it panicked.
pub async fn caught<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    // After a panic the future is dropped and not polled again.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Runs `work`, which blocks, on a thread of its own.
///
/// # Errors
///
/// The operating system gives no thread (tokio's own pool panics then), or `work` panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (give, get) = oneshot::channel();
    // The send fails where the caller has given up.
    let run = move || drop(give.send(work()));
    std::thread::Builder::new().name("redis-backplane-wait".into()).spawn(run)?;
    get.await.map_err(|_| ended("the thread"))
}

fn ended(what: &str) -> io::Error {
    io::Error::other(format!("{what} ended before its time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_an_error_for_its_caller() {
        assert_eq!(blocking(|| 7).await.unwrap(), 7);
        assert!(blocking(|| -> u8 { panic!("on purpose") }).await.is_err());
    }
}
