//! The numbers that both sides of the boundary must agree on, declared once. `src/js/codes.ts` is generated from them: a test compares it, and
//! `WRITE_CODES=1 cargo test --no-default-features codes::` writes it.

macro_rules! codes {
    (
        enums { $($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $about:literal])* $code:ident = $number:literal,)* })* }
        constants { $($(#[doc = $of:literal])* $constant:ident = $value:literal,)* }
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u32)]
            pub enum $name {
                $($(#[doc = $about])* $code = $number,)*
            }

            impl $name {
                /// The code with this number.
                #[must_use]
                pub fn of(number: u32) -> Option<Self> {
                    match number {
                        $($number => Some(Self::$code),)*
                        _ => None,
                    }
                }
            }
        )*
        $($(#[doc = $of])* pub const $constant: u32 = $value;)*

        /// The text of `src/js/codes.ts`.
        #[cfg(test)]
        fn in_typescript() -> String {
            let mut text = String::from(
                "/** The numbers that both sides of the boundary must agree on. Written from `src/crossing/codes.rs`, which says how: not by hand. */\n",
            );
            $(
                text += &format!("\n/**{} */\nexport const enum {} {{\n", concat!($($doc)*), stringify!($name));
                $(
                    $(text += &format!("  /**{} */\n", $about);)*
                    text += &format!("  {} = {},\n", stringify!($code), $number);
                )*
                text += "}\n";
            )*
            $(text += &format!("\n/**{} */\nexport const {} = {};\n", concat!($($of)*), stringify!($constant), $constant);)*
            text
        }
    };
}

codes! {
    enums {
        /// The kind of an argument of a call.
        ArgumentKind {
            /// Not given, or `undefined`.
            Absent = 0,
            Null = 1,
            False = 2,
            True = 3,
            /// Eight bytes, the least significant first.
            Number = 4,
            Text = 5,
            Bytes = 6,
            /// Anything else; its bytes are the text that describes it in errors.
            Other = 7,
        }
        /// The kind of a value that JavaScript takes.
        Tag {
            /// The value itself.
            Value = 0,
            /// JSON text to be parsed; text that is not JSON is the value itself.
            Json = 1,
            /// The fields of an error as JSON.
            Error = 2,
            /// An event as JSON; the number is the handle.
            Event = 3,
            /// A flat array of tag and value, tag and value …
            List = 4,
            /// A flat array, as for a list, for the object behind a handle; the number is the handle.
            Delivery = 5,
            /// The string `OK`, the most frequent outcome of commands that write; no value comes with it.
            Ok = 6,
            /// As a delivery, but an array of the values alone: most deliveries have only values without a tag of their own.
            Plain = 7,
        }
        /// The kind of a delivery to a worker, which is its first value.
        WorkerDelivery {
            /// Claimed jobs, with `CLAIMED_VALUES` values each.
            Jobs = 1,
            /// Attempts that have ended, with `ENDED_VALUES` values each.
            Ended = 2,
            /// Jobs whose outcome was refused, with `REFUSED_VALUES` values each.
            Refused = 3,
        }
        /// The outcome of an attempt.
        OutcomeKind {
            Completed = 1,
            Failed = 2,
            FailedForGood = 3,
            Delayed = 4,
            /// The job is handed back without an attempt, and waits before all other jobs.
            HandedBack = 5,
        }
    }
    constants {
        /// The number of a call without a waiting caller.
        NOBODY = 0xffff_ffff,
        /// The word of an argument is its kind, shifted by this many bits, and its length.
        KIND_SHIFT = 29,
        /// The longest argument, in bytes; Redis' own limit is the same.
        MAX_BYTES = 0x1fff_ffff,
        /// Values per job in a delivery: slot, id, name, data, options, attempts made, added at, started at, stalled count, progress.
        CLAIMED_VALUES = 10,
        /// Values per attempt that has ended: slot, cause, and a text about it.
        ENDED_VALUES = 3,
        /// Values per job whose outcome was refused: id and reason.
        REFUSED_VALUES = 2,
        /// Values per outcome that JavaScript reports: slot, kind and two more.
        OUTCOME_VALUES = 4,
        /// Values per event of a queue: type, job id, payload.
        EVENT_VALUES = 3,
        /// Values per durable message: number, id, attempts before, last error, key, text.
        MESSAGE_VALUES = 6,
        /// Values per consumer group of a topic: name, lag, pending, consumers, time of the last activity of a consumer.
        GROUP_VALUES = 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/js/codes.ts");

    #[test]
    fn typescript_has_the_same_numbers() {
        let made = in_typescript();
        if std::env::var_os("WRITE_CODES").is_some() {
            std::fs::write(FILE, &made).unwrap();
        }
        let there = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(made == there, "src/js/codes.ts differs: WRITE_CODES=1 cargo test --no-default-features codes::");
    }

    #[test]
    fn an_unknown_number_is_no_code() {
        assert_eq!(ArgumentKind::of(7), Some(ArgumentKind::Other));
        assert_eq!(OutcomeKind::of(5), Some(OutcomeKind::HandedBack));
        assert_eq!((OutcomeKind::of(0), OutcomeKind::of(6)), (None, None));
    }
}
