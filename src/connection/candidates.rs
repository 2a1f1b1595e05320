//! Tries several servers, or several addresses of one server, in parallel. Also the error if none can be used.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::error::{Error, ErrorKind, Result};

/// How long a candidate is tried before the next one is tried too: the connection attempt delay of RFC 8305.
pub(super) const HEAD_START: Duration = Duration::from_millis(250);

/// Tries candidates in parallel. Each has a head start before the next one starts; when an attempt ends, the next one starts at once.
/// `judge` takes each outcome: `Some` ends the race and drops the other attempts. Returns `None` when all attempts have ended.
pub(super) async fn race<F: Future, T>(
    attempts: impl IntoIterator<Item = F>,
    head_start: Duration,
    mut judge: impl FnMut(F::Output) -> Option<T>,
) -> Option<T> {
    let mut waiting = attempts.into_iter().peekable();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    loop {
        running.extend(waiting.next().map(Box::pin));
        if running.is_empty() {
            return None;
        }
        let more = waiting.peek().is_some();
        let mut head_start = pin!(sleep(head_start));
        let winner = poll_fn(|cx| {
            let mut winner = None;
            let before = running.len();
            running.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Ready(outcome) if winner.is_none() => {
                    winner = judge(outcome);
                    false
                }
                Poll::Ready(_) => false,
                Poll::Pending => true,
            });
            if winner.is_some() || running.len() < before || (more && head_start.as_mut().poll(cx).is_ready()) {
                Poll::Ready(winner)
            } else {
                Poll::Pending
            }
        })
        .await;
        if winner.is_some() {
            return winner;
        }
    }
}

/// Does `work` within `limit`, the rest of `connectTimeoutMs`.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within connectTimeoutMs, {} ms", limit.as_millis());
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// The failures of candidates.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The latest failure. Its cause is the failure before, and so on.
    latest: Option<Error>,
    /// The first failure that every attempt would repeat: refused credentials, no TLS, the wrong kind of server.
    lasting: Option<Error>,
}

impl Failures {
    pub(super) fn add(&mut self, error: Error) {
        if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Tls | ErrorKind::Config) {
            self.lasting.get_or_insert_with(|| error.clone());
        }
        self.latest = Some(match self.latest.take() {
            Some(earlier) => error.caused_by(earlier),
            None => error,
        });
    }

    /// One error for all failures: the lasting failure itself, else kind `connection` with `message` and the whole chain.
    pub(super) fn summary(self, message: String) -> Error {
        match (self.lasting, self.latest) {
            (Some(lasting), _) => lasting,
            (None, Some(latest)) => Error::new(ErrorKind::Connection, message).caused_by(latest),
            (None, None) => Error::new(ErrorKind::Connection, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// An attempt that takes this many milliseconds, or forever.
    async fn attempt(takes: Option<u64>, outcome: Result<u8>) -> Result<u8> {
        match takes {
            Some(takes) => sleep(Duration::from_millis(takes)).await,
            None => std::future::pending().await,
        }
        outcome
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_candidate_delays_the_next_one_by_a_head_start() {
        let begin = tokio::time::Instant::now();
        let attempts = [attempt(None, Ok(1)), attempt(None, Ok(2)), attempt(Some(10), Ok(3))];
        assert_eq!(race(attempts, HEAD_START, Result::ok).await, Some(3));
        assert_eq!(begin.elapsed(), HEAD_START * 2 + Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_candidate_starts_at_once_and_a_slow_candidate_may_still_win() {
        let begin = tokio::time::Instant::now();
        let refused = || Error::new(ErrorKind::Connection, "refused");
        let attempts = [attempt(Some(1), Err(refused())), attempt(Some(300), Ok(2)), attempt(None, Ok(3))];
        assert_eq!(race(attempts, HEAD_START, Result::ok).await, Some(2));
        assert_eq!(begin.elapsed(), Duration::from_millis(301));
        let mut failures = 0;
        let none = race([ready(1), ready(2)], HEAD_START, |_| {
            failures += 1;
            None::<u8>
        });
        assert_eq!(none.await, None);
        assert_eq!(failures, 2);
    }

    #[test]
    fn the_summary_keeps_every_cause_with_the_last_first() {
        let mut failures = Failures::default();
        for n in 1..=3 {
            failures.add(Error::new(ErrorKind::Timeout, format!("failure {n}")));
        }
        let error = failures.summary("none of 3".into());
        assert_eq!(error.kind(), ErrorKind::Connection);
        let mut chain = Vec::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        assert_eq!(chain, ["failure 3", "failure 2", "failure 1"]);
    }

    #[test]
    fn a_lasting_failure_replaces_the_summary() {
        let mut failures = Failures::default();
        failures.add(Error::new(ErrorKind::Auth, "WRONGPASS"));
        failures.add(Error::new(ErrorKind::Connection, "refused"));
        assert_eq!(failures.summary("none of 2".into()).kind(), ErrorKind::Auth);
    }
}
