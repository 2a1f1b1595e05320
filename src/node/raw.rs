//! Calls Node-API's C functions; the only file of the binding with `unsafe`. Two things need these functions. Outcomes become
//! JavaScript values here, because a flat array of plain values is several times cheaper than conversions per element. And the
//! reference to the face's function is weak, because a strong reference would keep the whole VM context of a finished Jest test file
//! alive.
//!
//! Every block upholds the same two conditions, named in its `SAFETY:` line: `env` is the environment of the calling
//! thread, and every value is used within the handle scope of the call that made it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;

use napi::bindgen_prelude::{Function, JsValue, ToNapiValue, TypeName, Uint32ArraySlice, Unknown};
use napi::sys::{self, napi_env, napi_value};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Env, Result, Status, ValueType, check_status};

use super::failure;
use super::item::Item;
use crate::crossing::Outcome;
use crate::crossing::codes::Tag;
use crate::error::Error;
use crate::resp::Reply;

/// The values of the items that were taken, as a flat array.
pub(super) struct Values(napi_value);

/// Makes the value of each item, and writes the item's number and tag to `heads`.
pub(super) fn values(env: Env, items: Vec<Item>, heads: &mut Uint32ArraySlice<'_>) -> Result<Values> {
    let js = Js(env.raw());
    // SAFETY: the face's own array, which nothing else reads or writes during this synchronous call.
    let heads = unsafe { heads.as_mut() };
    let array = js.array(items.len())?;
    for ((at, item), head) in items.into_iter().enumerate().zip(heads.chunks_exact_mut(2)) {
        let number = match &item {
            Item::Event(number, _) | Item::Delivery(number, _) | Item::Outcome(number, _) => *number,
        };
        // An item without a JavaScript value is replaced by an error; the other items are not affected.
        let (tag, value) = if let Ok(element) = js.item(&item) {
            element
        } else {
            js.forget_exception();
            js.no_item(&item)?
        };
        head.copy_from_slice(&[number, tag as u32]);
        if let Some(value) = value {
            js.set(array, at, value)?;
        }
    }
    Ok(Values(array))
}

impl TypeName for Values {
    fn type_name() -> &'static str {
        "Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ToNapiValue for Values {
    unsafe fn to_napi_value(_env: napi_env, values: Self) -> Result<napi_value> {
        Ok(values.0)
    }
}

fn is_ok(reply: &Reply) -> bool {
    matches!(reply, Reply::Simple(text) if &text[..] == b"OK")
}

/// Is `reply` no string, or a string of UTF-8?
fn is_text(reply: &Reply) -> bool {
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => std::str::from_utf8(bytes).is_ok(),
        _ => true,
    }
}

/// The tag of an element, and its value; `None` is `undefined`.
type Element = (Tag, Option<napi_value>);

/// Makes JavaScript values in one environment.
#[derive(Clone, Copy)]
struct Js(napi_env);

impl Js {
    fn item(self, item: &Item) -> Result<Element> {
        match item {
            Item::Event(_, json) => Ok((Tag::Event, Some(self.text(json.as_bytes())?))),
            Item::Delivery(_, values) => self.delivery(values),
            Item::Outcome(_, Ok(outcome)) => self.outcome(outcome),
            Item::Outcome(_, Err(error)) => Ok((Tag::Error, Some(self.error(error)?))),
        }
    }

    /// The replacement of an item that JavaScript has no value for.
    fn no_item(self, item: &Item) -> Result<Element> {
        let error = || self.error(&failure::no_text());
        match item {
            Item::Event(..) => Ok((Tag::Event, Some(self.text(failure::no_event().as_bytes())?))),
            Item::Delivery(..) => Ok((Tag::Plain, Some(self.array(0)?))),
            Item::Outcome(..) => Ok((Tag::Error, Some(error()?))),
        }
    }

    /// The element of an outcome. An outcome that JavaScript has no value for becomes an error of its own call.
    fn outcome(self, outcome: &Outcome) -> Result<Element> {
        self.element(outcome).or_else(|_| {
            self.forget_exception();
            Ok((Tag::Error, Some(self.error(&failure::no_value(outcome))?)))
        })
    }

    fn element(self, outcome: &Outcome) -> Result<Element> {
        let value = match outcome {
            Outcome::Nothing => return Ok((Tag::Value, None)),
            Outcome::Reply(reply) if is_ok(reply) => return Ok((Tag::Ok, None)),
            Outcome::Json(bytes) if std::str::from_utf8(bytes).is_err() => {
                return Ok((Tag::Error, Some(self.error(&failure::not_text())?)));
            }
            Outcome::Json(bytes) => return Ok((Tag::Json, Some(self.text(bytes)?))),
            Outcome::List(items) => return Ok((Tag::List, Some(self.list(items)?))),
            Outcome::Null => self.null()?,
            Outcome::Bool(flag) => self.bool(*flag)?,
            Outcome::Number(number) => self.number(*number)?,
            Outcome::Text(bytes) => self.string_or_buffer(bytes)?,
            Outcome::Bytes(bytes) => self.buffer(bytes)?,
            Outcome::Reply(reply) => self.reply(reply)?,
        };
        Ok((Tag::Value, Some(value)))
    }

    /// The element of a delivery, without tags where no value needs one.
    fn delivery(self, values: &[Outcome]) -> Result<Element> {
        let elements = values.iter().map(|value| self.outcome(value)).collect::<Result<Vec<_>>>()?;
        if elements.iter().any(|(tag, _)| !matches!(tag, Tag::Value)) {
            return Ok((Tag::Delivery, Some(self.flat(elements)?)));
        }
        let array = self.array(elements.len())?;
        for (at, (_, value)) in elements.into_iter().enumerate() {
            if let Some(value) = value {
                self.set(array, at, value)?;
            }
        }
        Ok((Tag::Plain, Some(array)))
    }

    fn list(self, items: &[Outcome]) -> Result<napi_value> {
        self.flat(items.iter().map(|item| self.element(item)).collect::<Result<_>>()?)
    }

    /// A flat array of tag and value, tag and value …
    fn flat(self, elements: Vec<Element>) -> Result<napi_value> {
        let array = self.array(elements.len() * 2)?;
        for (at, (tag, value)) in elements.into_iter().enumerate() {
            self.set(array, at * 2, self.unsigned(tag as u32)?)?;
            if let Some(value) = value {
                self.set(array, at * 2 + 1, value)?;
            }
        }
        Ok(array)
    }

    fn reply(self, reply: &Reply) -> Result<napi_value> {
        match reply {
            Reply::Nil => self.null(),
            Reply::Int(number) => self.integer(*number),
            Reply::Double(number) => self.number(*number),
            Reply::Bool(flag) => self.bool(*flag),
            Reply::Bulk(bytes) | Reply::Simple(bytes) | Reply::BigNumber(bytes) | Reply::Error(bytes) => {
                self.string_or_buffer(bytes)
            }
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                let array = self.array(items.len())?;
                for (at, item) in items.iter().enumerate() {
                    self.set(array, at, self.reply(item)?)?;
                }
                Ok(array)
            }
            // Property names are strings, so keys of other bytes would collide.
            Reply::Map(pairs) if !pairs.iter().all(|(key, _)| is_text(key)) => {
                let array = self.array(pairs.len() * 2)?;
                for (at, item) in pairs.iter().flat_map(|(key, value)| [key, value]).enumerate() {
                    self.set(array, at, self.reply(item)?)?;
                }
                Ok(array)
            }
            Reply::Map(pairs) => {
                let object = self.object()?;
                for (key, value) in pairs {
                    self.define(object, self.reply(key)?, self.reply(value)?)?;
                }
                Ok(object)
            }
        }
    }

    fn error(self, error: &Error) -> Result<napi_value> {
        self.text(failure::to_json(error).as_bytes())
    }

    /// A string where the bytes are UTF-8, else a buffer.
    fn string_or_buffer(self, bytes: &[u8]) -> Result<napi_value> {
        if bytes.is_ascii() {
            self.latin1(bytes)
        } else if std::str::from_utf8(bytes).is_ok() {
            self.utf8(bytes)
        } else {
            self.buffer(bytes)
        }
    }

    /// A string of bytes known to be UTF-8.
    fn text(self, bytes: &[u8]) -> Result<napi_value> {
        if bytes.is_ascii() { self.latin1(bytes) } else { self.utf8(bytes) }
    }

    fn latin1(self, bytes: &[u8]) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: `self.0` is the calling thread's environment; the pointer and length are of a live slice, which is copied.
        check_status!(unsafe {
            sys::napi_create_string_latin1(self.0, bytes.as_ptr().cast(), bytes.len().cast_signed(), &raw mut value)
        })?;
        Ok(value)
    }

    fn utf8(self, bytes: &[u8]) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `latin1`.
        check_status!(unsafe {
            sys::napi_create_string_utf8(self.0, bytes.as_ptr().cast(), bytes.len().cast_signed(), &raw mut value)
        })?;
        Ok(value)
    }

    fn buffer(self, bytes: &[u8]) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `latin1`; the copied-to pointer is not asked for.
        check_status!(unsafe {
            sys::napi_create_buffer_copy(self.0, bytes.len(), bytes.as_ptr().cast(), ptr::null_mut(), &raw mut value)
        })?;
        Ok(value)
    }

    /// Clears a pending exception of the environment.
    fn forget_exception(self) {
        let mut value = ptr::null_mut();
        // SAFETY: as in `number`; without one this gives `undefined`.
        unsafe { sys::napi_get_and_clear_last_exception(self.0, &raw mut value) };
    }

    fn number(self, number: f64) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: `self.0` is the calling thread's environment; the result is used in this scope.
        check_status!(unsafe { sys::napi_create_double(self.0, number, &raw mut value) })?;
        Ok(value)
    }

    fn unsigned(self, number: u32) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `number`.
        check_status!(unsafe { sys::napi_create_uint32(self.0, number, &raw mut value) })?;
        Ok(value)
    }

    /// A number where it is exact, else a `BigInt`.
    fn integer(self, number: i64) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        if number.unsigned_abs() <= 1 << 53 {
            // SAFETY: as in `number`.
            check_status!(unsafe { sys::napi_create_int64(self.0, number, &raw mut value) })?;
        } else {
            // SAFETY: as in `number`.
            check_status!(unsafe { sys::napi_create_bigint_int64(self.0, number, &raw mut value) })?;
        }
        Ok(value)
    }

    fn null(self) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `number`.
        check_status!(unsafe { sys::napi_get_null(self.0, &raw mut value) })?;
        Ok(value)
    }

    fn bool(self, flag: bool) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `number`.
        check_status!(unsafe { sys::napi_get_boolean(self.0, flag, &raw mut value) })?;
        Ok(value)
    }

    fn object(self) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `number`.
        check_status!(unsafe { sys::napi_create_object(self.0, &raw mut value) })?;
        Ok(value)
    }

    fn array(self, length: usize) -> Result<napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `number`.
        check_status!(unsafe { sys::napi_create_array_with_length(self.0, length, &raw mut value) })?;
        Ok(value)
    }

    fn set(self, array: napi_value, at: usize, value: napi_value) -> Result<()> {
        let at = u32::try_from(at).map_err(|_| napi::Error::from_reason("an array too long"))?;
        // SAFETY: as in `number`; `array` and `value` are of this scope.
        check_status!(unsafe { sys::napi_set_element(self.0, array, at, value) })
    }

    /// Defines an own property, so that a key named `__proto__` is a key like any other.
    fn define(self, object: napi_value, name: napi_value, value: napi_value) -> Result<()> {
        let mut key = ptr::null_mut();
        // SAFETY: as in `set`; numbers become the names JavaScript gives them.
        check_status!(unsafe { sys::napi_coerce_to_string(self.0, name, &raw mut key) })?;
        let property = sys::napi_property_descriptor {
            utf8name: ptr::null(),
            name: key,
            method: None,
            getter: None,
            setter: None,
            value,
            attributes: sys::PropertyAttributes::writable
                | sys::PropertyAttributes::enumerable
                | sys::PropertyAttributes::configurable,
            data: ptr::null_mut(),
        };
        // SAFETY: as in `set`; the descriptor lives through the call, which copies it.
        check_status!(unsafe { sys::napi_define_properties(self.0, object, 1, &raw const property) })
    }
}

/// A weak reference to a JavaScript function.
pub(super) struct WeakFunction(sys::napi_ref);

impl WeakFunction {
    /// Holds `function` weakly; once it is collected, `gone` is called with `id` on the same thread.
    pub(super) fn new(env: Env, function: &Function<'_, (), Unknown<'static>>, id: u32, gone: fn(u32)) -> Result<Self> {
        let notice = Box::into_raw(Box::new((id, gone)));
        // SAFETY: `env` is the calling thread's; the box is freed by `collected`, which Node-API calls exactly once.
        let added = check_status!(unsafe {
            sys::napi_add_finalizer(
                env.raw(),
                function.raw(),
                notice.cast(),
                Some(collected),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        });
        if let Err(error) = added {
            // SAFETY: the finalizer was not added, so this is the only owner.
            drop(unsafe { Box::from_raw(notice) });
            return Err(error);
        }
        let mut reference = ptr::null_mut();
        // SAFETY: `env` is the calling thread's and `function` a value of this scope; a count of 0 is a weak reference.
        check_status!(unsafe { sys::napi_create_reference(env.raw(), function.raw(), 0, &raw mut reference) })?;
        Ok(Self(reference))
    }

    /// Calls the function without arguments, if it is not collected. An exception is dropped, because a wake-up has no caller.
    pub(super) fn call(&self, env: Env) {
        let raw = env.raw();
        let (mut function, mut this, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: called on the environment's own thread, within the handle scope of the wake-up; a collected function is
        // null and not called; a pending exception is cleared before the return.
        unsafe {
            let found = sys::napi_get_reference_value(raw, self.0, &raw mut function) == sys::Status::napi_ok;
            if !found || function.is_null() || sys::napi_get_undefined(raw, &raw mut this) != sys::Status::napi_ok {
                return;
            }
            let status = sys::napi_call_function(raw, this, function, 0, ptr::null(), &raw mut result);
            if status == sys::Status::napi_pending_exception {
                sys::napi_get_and_clear_last_exception(raw, &raw mut result);
            }
        }
    }
}

unsafe extern "C" fn collected(_env: napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: `data` is the box that `WeakFunction::new` gave away, and this is called once.
    let notice = unsafe { Box::from_raw(data.cast::<(u32, fn(u32))>()) };
    let (id, gone) = *notice;
    // A panic must not unwind into Node.
    let _ = std::panic::catch_unwind(|| gone(id));
}

/// The wake-up of a port: weak, without arguments, and with room for one call.
pub(super) type Wake = ThreadsafeFunction<(), (), (), Status, false, true, 2>;

/// Makes the port's wake-up keep the process alive, or not.
pub(super) fn hold(env: Env, wake: &Wake, hold: bool) -> Result<()> {
    let wake = wake.raw();
    // SAFETY: called on the environment's own thread, and the owner of the thread-safe function is alive.
    check_status!(unsafe {
        if hold {
            sys::napi_ref_threadsafe_function(env.raw(), wake)
        } else {
            sys::napi_unref_threadsafe_function(env.raw(), wake)
        }
    })
}
