//! Byte strings as keys and values hold them.

use std::rc::Rc;

/// A member, a field or an element.
pub(super) type Bytes = Box<[u8]>;

/// The name of a key, shared by all that mention it.
pub(super) type Key = Rc<[u8]>;

/// The longest member, field or value of a small collection, in bytes.
pub(super) const LISTPACK_VALUE: usize = 64;
