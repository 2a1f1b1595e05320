//! The memory limit, and the error beyond it.

use super::reply::Fault;
use super::state::Core;

pub(super) const OOM: Fault = Fault::of("OOM command not allowed when used memory > 'maxmemory'.");
pub(super) const READONLY: Fault = Fault::of("READONLY You can't write against a read only replica.");

/// Whether the keys use more memory than `maxmemory` allows. Expired keys are removed first.
pub(super) fn exceeded(core: &mut Core) -> bool {
    let limit = core.config.max_memory;
    if limit == 0 || core.used_memory() as u64 <= limit {
        return false;
    }
    core.sweep();
    core.used_memory() as u64 > limit
}
