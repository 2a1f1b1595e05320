//! The leases of a store, see [`crate::lease`], and the verbs that all of them share.

use std::sync::LazyLock;

use super::{Kv, scripts};
use crate::lease::{Ask, LeaseScripts};
use crate::telemetry::Operation;
use crate::verb::Call;

static RENEW: LazyLock<Operation> = LazyLock::new(|| Operation::named("kv.renew"));

/// A lock, in a hash with its fencing token.
pub(super) static LOCK: LeaseScripts =
    LeaseScripts { renew: &scripts::EXTEND, end: &scripts::RELEASE, operation: &RENEW };
/// A string key with the token of the caller that runs a `once`.
pub(super) static TOKEN: LeaseScripts =
    LeaseScripts { renew: &scripts::RENEW, end: &scripts::GIVE_UP, operation: &RENEW };
/// The mark of a load. It is renewed only while the loaded key is unchanged since the load started.
pub(super) static LOAD: LeaseScripts =
    LeaseScripts { renew: &scripts::RENEW_LOAD, end: &scripts::LEAVE_LOAD, operation: &RENEW };

/// Argument: id. Gives a lease up; false if it was not held any more.
pub(super) fn release(kv: &Kv, call: Call<'_>) {
    match call.id(0) {
        Ok(id) => kv.leases.ask(id, Ask::Release(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}

/// Argument: id. Answers when the lease ends.
pub(super) fn watch(kv: &Kv, call: Call<'_>) {
    match call.id(0) {
        Ok(id) => kv.leases.ask(id, Ask::Lost(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}
