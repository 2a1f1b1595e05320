//! The one I/O thread of the process, and what runs on it.
//!
//! Every connection actor, lease renewal and timer of every manager is a task of one current-thread
//! runtime: crossing threads once per batch is the only cost, and no lock is held across an await.
//! The thread starts with the first use and ends with the process; it never waits for JavaScript.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

static IO: OnceLock<Handle> = OnceLock::new();

/// The runtime of the I/O thread.
///
/// # Panics
///
/// When the operating system gives no thread or no event queue: nothing of this crate can work then.
pub fn io() -> &'static Handle {
    IO.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("redis-backplane".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("an event queue for the I/O thread");
                let _ = send.send(runtime.handle().clone());
                runtime.block_on(std::future::pending::<()>());
            })
            .expect("a thread for I/O");
        receive.recv().expect("the I/O thread gives its handle")
    })
}

/// Runs `task` on the I/O thread.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    io().spawn(task)
}
