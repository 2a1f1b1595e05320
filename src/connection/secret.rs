//! Passwords. They stay in Rust and are never printed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Result;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the wire.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Gives the password for each new connection.
pub trait PasswordSource: Send + Sync {
    /// Called once for each attempt to connect, within the deadline of the attempt.
    fn password(&self) -> Pin<Box<dyn Future<Output = Result<Secret>> + Send>>;
}

/// Where the password comes from.
#[derive(Clone)]
pub enum Password {
    None,
    Fixed(Secret),
    Asked(Arc<dyn PasswordSource>),
}

impl Password {
    /// The password for an attempt that begins now.
    pub async fn get(&self) -> Result<Option<Secret>> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(secret) => Ok(Some(secret.clone())),
            Self::Asked(source) => source.password().await.map(Some),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Fixed(_) => "[redacted]",
            Self::Asked(_) => "[asked]",
        })
    }
}
