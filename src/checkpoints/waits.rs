//! Ends a wait of `acquire` or `resume` early.

use super::Checkpoints;
use crate::crossing::Outcome;
use crate::verb::Call;

/// Argument: id.
pub(super) fn cancel(store: &Checkpoints, call: Call<'_>) {
    call.at_once(|call| {
        let id = call.id(0)?;
        store.0.waits.cancel(id);
        Ok(Outcome::Nothing)
    });
}
