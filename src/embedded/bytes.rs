//! The byte strings in keys and values.

use std::rc::Rc;

/// A member, a field or an element.
pub(super) type Bytes = Box<[u8]>;

/// The name of a key, shared by everything that refers to the key.
pub(super) type Key = Rc<[u8]>;

/// The longest member, field or value of a small collection, in bytes.
pub(super) const LISTPACK_VALUE: usize = 64;
