//! Passwords: `requirepass`, AUTH, and the commands that need no password.

use super::{Args, Cx};
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::state::Core;

const WRONG: Fault = Fault::of("WRONGPASS invalid username-password pair or user is disabled.");

/// Whether this client must give a password first.
pub(in crate::embedded) fn is_owed(core: &mut Core, slot: usize) -> bool {
    core.config.password().is_some() && core.client(slot).is_some_and(|client| !client.authenticated)
}

/// Checks the password, and marks the client as authenticated if it is right. There is only the default user.
pub(super) fn log_in(cx: &mut Cx<'_>, user: &[u8], password: &[u8]) -> Result<(), Fault> {
    let right = cx.core.config.password().is_none_or(|wanted| wanted.as_bytes() == password);
    if user != b"default" || !right {
        return Err(WRONG);
    }
    if let Some(client) = cx.core.client(cx.slot) {
        client.authenticated = true;
    }
    Ok(())
}

pub(super) fn auth(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (user, password) = match args {
        [_, _] if cx.core.config.password().is_none() => {
            return Err(Fault::of(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        [_, password] => (&b"default"[..], *password),
        [_, user, password] => (*user, *password),
        _ => return Err(Fault::SYNTAX),
    };
    log_in(cx, user, password).map(|()| Reply::OK)
}
