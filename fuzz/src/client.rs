//! What a client reads, on arbitrary bytes: no server, no stored record and no URL makes it panic.
//!
//! The first byte of an input chooses the reader; a reply is read from the bytes as they would come from a server.
#![no_main]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "the modules are taken out of their crate")]

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/keys/mod.rs"]
mod keys;
#[path = "../../src/resp/mod.rs"]
mod resp;

#[path = "../../src/connection"]
mod connection {
    pub mod secret;
    pub mod server_info;
    pub mod target;

    pub mod cluster {
        pub mod slot_set;
        pub mod slots;

        use super::target::Address;
        use crate::resp::Reply;

        fn asked() -> Address {
            Address { host: "asked".to_owned(), port: 6379 }
        }

        /// A slot map answers for every slot, and for those that have moved since.
        pub fn read_slots(reply: &Reply) {
            let Some(mut map) = slots::SlotMap::read(reply, &asked()) else { return };
            let owned = map.lowest_slots();
            for slot in owned {
                assert!(map.owner(slot).is_some(), "the lowest slot of a master is its own");
            }
            for slot in [0, slots::SLOTS - 1] {
                map.moved(slot, &asked());
                assert!(map.owner(slot).is_none_or(|owner| *owner == asked()), "a slot is where it has moved");
            }
        }

        pub fn read_redirect(line: &[u8]) {
            if let Some(redirect) = slots::Redirect::read(line, &asked()) {
                assert!(redirect.address.port != 0, "an address can be connected to");
            }
        }
    }

    pub fn read_hello(reply: &super::resp::Reply) {
        let _ = server_info::describe(reply);
    }

    /// What no text of an error has by itself.
    const PASSWORD: &str = "hunter2";

    /// No error about a URL repeats its password.
    pub fn read_url(text: &str) {
        if let Err(error) = target::parse(text) {
            assert!(!error.to_string().contains(PASSWORD), "{error}");
        }
    }
}

#[path = "../../src/queue"]
mod queue {
    pub mod record;

    use bytes::Bytes;

    pub fn read_record(bytes: &Bytes) {
        let _ = record::Stored::read(bytes);
        let _ = record::Progressed::read(Some(bytes));
    }
}

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    match choice % 4 {
        0 => {
            let mut buffer = BytesMut::from(bytes);
            let mut reader = resp::Reader::new(1 << 20);
            while let Ok(Some(read)) = reader.next(&mut buffer) {
                let resp::Read::Reply(reply) = read else { continue };
                connection::read_hello(&reply);
                connection::cluster::read_slots(&reply);
            }
        }
        1 => connection::cluster::read_redirect(bytes),
        2 => queue::read_record(&Bytes::copy_from_slice(bytes)),
        _ => connection::read_url(&String::from_utf8_lossy(bytes)),
    }
});
