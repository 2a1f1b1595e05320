//! A Lua script: called by its digest, and loaded where the server does not know it.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::resp;

/// Declares the scripts of a feature as statics, in its `scripts.rs`. `NAME = "file.lua" …;` declares a [`Script`] whose text is these
/// files of `lua/`, in order. The files of `before [ … ];` come first in each script. `as Type;` declares a `Type::new(text, …)`
/// instead; the arguments behind the text follow a comma.
macro_rules! scripts {
    (as $made:ident; before $shared:tt; $($name:ident = $($file:literal)+ $(, $more:expr)*;)+) => {
        $($crate::connection::scripts!(@one $made $shared $name [$($file)+] [$($more)*]);)+
    };
    (before $shared:tt; $($name:ident = $($file:literal)+;)+) => {
        $($crate::connection::scripts!(@one Script $shared $name [$($file)+] []);)+
    };
    ($($name:ident = $($file:literal)+;)+) => {
        $($crate::connection::scripts!(@one Script [] $name [$($file)+] []);)+
    };
    (@one $made:ident [$($shared:literal)*] $name:ident [$($file:literal)+] [$($more:expr)*]) => {
        pub(super) static $name: std::sync::LazyLock<$made> = std::sync::LazyLock::new(|| {
            $made::new(
                concat!($(include_str!(concat!("lua/", $shared)),)* $(include_str!(concat!("lua/", $file)),)+)
                $(, $more)*
            )
        });
    };
}

pub(crate) use scripts;

/// A script's text and the SHA-1 digest Redis knows it by.
#[derive(Clone)]
pub struct Script(Arc<Inner>);

struct Inner {
    digest: String,
    text: Bytes,
    is_ours: bool,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.0.digest)
    }
}

impl Script {
    /// A script of this package. Its error replies never imitate the server's texts.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::of(text, true)
    }

    /// A script of a user, which may answer with anything.
    #[must_use]
    pub fn of_user(text: &str) -> Self {
        Self::of(text, false)
    }

    fn of(text: &str, is_ours: bool) -> Self {
        let digest = redis::Script::new(text).get_hash().to_owned();
        Self(Arc::new(Inner { digest, text: Bytes::copy_from_slice(text.as_bytes()), is_ours }))
    }

    /// Is this a script of this package?
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.is_ours
    }

    /// The SHA-1 digest of the text, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// `EVALSHA digest count keys… args…`, packed.
    #[must_use]
    pub fn call<'a>(&self, keys: &[&'a [u8]], args: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
        pack(b"EVALSHA", self.0.digest.as_bytes(), keys, args)
    }

    /// `EVAL text count keys… args…`, packed.
    #[must_use]
    pub fn call_with_text<'a>(&self, keys: &[&'a [u8]], args: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
        pack(b"EVAL", &self.0.text, keys, args)
    }

    /// `SCRIPT LOAD`, to be written before the call is written again.
    #[must_use]
    pub fn load(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.0.text.len() + 64);
        resp::pack(&mut out, &[b"SCRIPT", b"LOAD", &self.0.text]);
        out.freeze()
    }
}

/// A call of a script by the command `name`; `what` is the digest or the text.
fn pack<'a>(name: &[u8], what: &[u8], keys: &[&'a [u8]], args: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + what.len());
    resp::begin(&mut out, 3 + keys.len() + args.len());
    resp::push(&mut out, name);
    resp::push(&mut out, what);
    resp::push(&mut out, keys.len().to_string().as_bytes());
    keys.iter().for_each(|key| resp::push(&mut out, key));
    args.for_each(|arg| resp::push(&mut out, arg));
    out.freeze()
}
