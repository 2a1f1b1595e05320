//! Servers that are tried one after another: how long each may take, and what is said when none will do.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

/// One of `parts` equal parts of the time until `deadline`.
pub(super) fn share(deadline: Instant, parts: usize) -> Duration {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
    deadline.saturating_duration_since(Instant::now()) / parts
}

/// Does `work` within a share of `connectTimeoutMs`.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within its share of connectTimeoutMs, {} ms", limit.as_millis());
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// Why candidates would not do.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The latest, caused by the one before, and so on.
    latest: Option<Error>,
    /// The first that no waiting mends: refused credentials, no TLS, the wrong kind of server.
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

    /// The error of them all: a lasting failure itself, else kind `connection` with `message` and the whole chain.
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
    use super::*;

    #[test]
    fn the_summary_keeps_every_cause_the_last_first() {
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
    fn a_failure_that_lasts_is_told_instead_of_the_summary() {
        let mut failures = Failures::default();
        failures.add(Error::new(ErrorKind::Auth, "WRONGPASS"));
        failures.add(Error::new(ErrorKind::Connection, "refused"));
        assert_eq!(failures.summary("none of 2".into()).kind(), ErrorKind::Auth);
    }
}
