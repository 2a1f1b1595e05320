//! The commands of a consumer to the server, and their replies.

use std::time::Duration;

use bytes::Bytes;

use super::in_flight::{Action, InFlight, Message, Settlement, last_of_key};
use super::scripts::{self, bulk, entry_id, number, operation, readable};
use super::settings::Settings;
use crate::connection::{Command, Packed, Script};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// With this many parked messages a group reads no new messages, because parked messages cost memory in Redis.
const MOST_PARKED: u64 = 10_000;

/// The most settlements of one poll, and the most of them other than plain acknowledgements. A script delays all other clients.
const MOST_SETTLEMENTS: usize = 500;
const MOST_COSTLY: usize = 125;

/// The largest plausible number of attempts; a larger number counts as 0.
const MAX_EARLIER: u64 = 1 << 50;

/// How many messages a consumer has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Free handlers: the most messages that failed before.
    pub(super) slots: usize,
    /// The most other messages, each of another key.
    pub(super) new_keys: usize,
    /// The most messages that follow another message of their key.
    pub(super) same_key: usize,
}

/// The reply to a poll.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PollReply {
    /// The consumer is no longer a member of the group.
    Lost,
    Given {
        due_in: Option<Duration>,
        more: bool,
        /// Has the group read the whole stream?
        all_read: bool,
        messages: Vec<Message>,
        notices: Notices,
    },
}

/// What a poll reports beside its messages; usually nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notices {
    /// Damaged records that were removed.
    pub(super) damaged: u64,
    /// Why a dead letter could not be written.
    pub(super) dead_letter_error: Option<Bytes>,
    pub(super) dead_letters: Vec<NewDeadLetter>,
}

/// A message that became a dead letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewDeadLetter {
    /// The id among the dead letters.
    pub(super) letter_id: Bytes,
    /// The id in the topic's stream.
    pub(super) id: Bytes,
    pub(super) attempts: u64,
    pub(super) error: Bytes,
}

/// The reply to maintenance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MaintainReply {
    Lost,
    Fine(GroupState),
}

/// The state of a group, as maintenance returns it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GroupState {
    pub(super) due_in: Option<Duration>,
    pub(super) lag: u64,
    /// How long the consumer must not take over from others. Its own lease had ended, so the leases of other live consumers may have
    /// ended too.
    pub(super) grace: Duration,
    /// The cursor of the check of parked messages.
    pub(super) parked_cursor: Bytes,
    /// Must the group's records be audited?
    pub(super) needs_audit: bool,
    /// Damaged records that were removed.
    pub(super) damaged: u64,
}

/// One page of an audit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AuditPage {
    /// The cursor of the next page; `None` after the last.
    pub(super) next: Option<AuditCursor>,
    pub(super) damaged: u64,
    /// Messages that were restored.
    pub(super) restored: u64,
}

/// The cursor of an audit: its phase, and the position within the phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuditCursor {
    phase: Bytes,
    cursor: Bytes,
}

impl AuditCursor {
    pub(super) fn first() -> Self {
        Self { phase: Bytes::from_static(b"due"), cursor: Bytes::new() }
    }
}

/// Starts a call of `script` with the keys and arguments of all group scripts, and room for `more` arguments.
fn call(script: &Script, settings: &Settings, name: &str, room: usize, more: usize) -> Packed {
    call_with_key(script, settings, name, None, room, more)
}

/// As [`call`], with one more key.
fn call_with_key(
    script: &Script,
    settings: &Settings,
    name: &str,
    key: Option<&Bytes>,
    room: usize,
    more: usize,
) -> Packed {
    let keys = &settings.keys;
    let lease = u64::try_from(settings.lease.as_millis()).unwrap_or(u64::MAX);
    let keys_of_group =
        [&keys.stream, &keys.key_queues, &keys.due, &keys.parked, &keys.notes, &keys.consumers, &keys.dead];
    let size = keys_of_group.iter().map(|key| key.len() + 16).sum::<usize>();
    let count = keys_of_group.len() + usize::from(key.is_some());
    let packed = Packed::sized(size + 256 + room).script(script, count, 4 + more);
    let packed = keys_of_group.into_iter().chain(key).fold(packed, |packed, key| packed.word(key));
    packed.word(&settings.group).word(name.as_bytes()).number(lease).word(&settings.topic_keys.wake())
}

/// A call of a script without further arguments.
fn plain(operation: Operation, script: &Script, settings: &Settings, name: &str) -> Command {
    call(script, settings, name, 0, 0).runs(operation, script)
}

/// `may_take_over`: may the consumer take over from consumers whose lease has ended? `parked_cursor`: the cursor of the check of parked
/// messages. `counts`: does the script count unread messages?
pub(super) fn maintain(
    settings: &Settings,
    name: &str,
    may_take_over: bool,
    parked_cursor: &[u8],
    counts: bool,
) -> Command {
    let unread = settings.topic_keys.unread();
    let packed =
        call_with_key(&scripts::MAINTAIN, settings, name, Some(&unread), 0, 5).number(u64::from(may_take_over));
    let packed = packed.number(settings.retry.longest_ms()).word(parked_cursor).number(u64::from(counts));
    packed.number(u64::from(fastrand::u32(..))).runs(*operation::MAINTAIN, &scripts::MAINTAIN)
}

pub(super) fn audit(settings: &Settings, name: &str, place: &AuditCursor) -> Command {
    let packed = call(&scripts::AUDIT, settings, name, 0, 2).word(&place.phase).word(&place.cursor);
    packed.runs(*operation::AUDIT, &scripts::AUDIT)
}

pub(super) fn leave(settings: &Settings, name: &str) -> Command {
    plain(*operation::LEAVE, &scripts::LEAVE, settings, name)
}

/// Joins a group. `from` is where a new group starts; with `again` the group existed before and was lost.
pub(super) fn join(settings: &Settings, name: &str, from: &[u8], again: bool) -> Command {
    let packed = call(&scripts::JOIN, settings, name, 0, 3).word(from).number(u64::from(again));
    packed.number(settings.retry.longest_ms()).runs(*operation::JOIN, &scripts::JOIN)
}

/// Why a consumer may have been given messages that it does not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    None,
    /// An answer was lost: its messages never reached the consumer, so no handler tried them.
    Answer,
    /// The server may have lost the last settlements: pending messages may have been handled.
    Server,
}

/// Settles as many messages as one poll may, and fetches new ones. With a doubt, the poll names the messages in flight too. Also
/// returns how many it settles.
pub(super) fn poll(
    settings: &Settings,
    name: &str,
    room: Room,
    in_flight: &InFlight,
    settlements: &[Settlement],
    doubt: Doubt,
) -> (Command, usize) {
    let script = &*scripts::POLL;
    // For an acknowledged message without a note the script needs only the id, and the key if it is the last message of the key.
    let is_plain = |settlement: &Settlement| !settlement.noted && settlement.action == Action::Acknowledge;
    let last = last_of_key(settlements, in_flight);
    let is_costly = |(settlement, last): &(&Settlement, bool)| *last || !is_plain(settlement);
    let each = || settlements.iter().zip(last.iter().copied());
    let settled = each()
        .scan(MOST_COSTLY, |left, one| {
            *left = left.checked_sub(usize::from(is_costly(&one)))?;
            Some(())
        })
        .take(MOST_SETTLEMENTS)
        .count();
    let plain: Vec<&Bytes> = settlements[..settled].iter().filter(|one| is_plain(one)).map(|one| &one.id).collect();
    let others: Vec<(&Settlement, bool)> = each().take(settled).filter(is_costly).collect();
    let known: Vec<(&Bytes, Option<&Bytes>)> = if doubt > Doubt::None {
        in_flight.messages().chain(settlements.iter().map(|one| (&one.id, one.key.as_ref()))).collect()
    } else {
        Vec::new()
    };
    let count = 7 + 2 * known.len() + 1 + plain.len() + 6 * others.len();
    let mut packed = call(script, settings, name, 64 * settled, count)
        .number(settings.retry.attempts)
        .number(room.slots as u64)
        .number(room.new_keys as u64)
        .number(room.same_key as u64)
        .number(MOST_PARKED)
        .number(u64::from(doubt == Doubt::Answer));
    packed = if doubt > Doubt::None { packed.number(known.len() as u64) } else { packed.signed(-1) };
    for (id, key) in known {
        packed = packed.word(id).word(key.map_or(&b""[..], |key| key));
    }
    packed = packed.number(plain.len() as u64);
    packed = plain.into_iter().fold(packed, |packed, id| packed.word(id));
    for (settlement, last) in others {
        let (what, given, error): (&[u8], u64, &[u8]) = match &settlement.action {
            Action::Acknowledge if is_plain(settlement) => (b"acked", 0, b""),
            Action::Acknowledge => (b"ack", 0, b""),
            Action::Retry(delay, error) => (b"retry", *delay, error),
            Action::Return(deliveries) => (b"return", *deliveries, b""),
            Action::DeadLetter(attempts, error) => (b"dead", *attempts, error),
        };
        packed = packed
            .word(what)
            .word(&settlement.id)
            .word(settlement.key.as_deref().unwrap_or_default())
            .number(u64::from(last))
            .number(given)
            .word(error);
    }
    (packed.runs(*operation::POLL, script), settled)
}

pub(super) fn read_poll(reply: Reply) -> Result<PollReply> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Reply::Int(0)), ..) => Ok(PollReply::Lost),
        (
            Some(Reply::Int(1)),
            Some(Reply::Int(due_in)),
            Some(Reply::Int(more)),
            Some(Reply::Array(again)),
            Some(Reply::Array(fresh)),
        ) => {
            let mut messages = Vec::with_capacity(again.len() + fresh.len() / 3);
            for given in again {
                let Reply::Array(given) = given else { return Err(Error::unexpected_reply()) };
                let Ok([Reply::Int(deliveries), error, id, fields]) = <[Reply; 4]>::try_from(given) else {
                    return Err(Error::unexpected_reply());
                };
                let deliveries = u64::try_from(deliveries).unwrap_or(1);
                messages.push(message(id, fields, deliveries, bulk(error)).ok_or_else(Error::unexpected_reply)?);
            }
            let mut fresh = fresh.into_iter();
            while let Some(id) = fresh.next() {
                let (Some(about), Some(data)) = (fresh.next(), fresh.next()) else {
                    return Err(Error::unexpected_reply());
                };
                messages.push(fresh_message(id, about, data).ok_or_else(Error::unexpected_reply)?);
            }
            let notices = match parts.next() {
                Some(damaged) => notices(damaged, parts.next(), parts.next()).ok_or_else(Error::unexpected_reply)?,
                None => Notices::default(),
            };
            Ok(PollReply::Given { due_in: millis(due_in), more: more == 1, all_read: more == 0, messages, notices })
        }
        _ => Err(Error::unexpected_reply()),
    }
}

fn notices(damaged: Reply, dead_letter_error: Option<Reply>, dead_letters: Option<Reply>) -> Option<Notices> {
    let (Reply::Int(damaged), Some(dead_letter_error), Some(Reply::Array(parts))) =
        (damaged, dead_letter_error.and_then(bulk), dead_letters)
    else {
        return None;
    };
    let mut dead_letters = Vec::with_capacity(parts.len() / 4);
    let mut parts = parts.into_iter().map(bulk);
    while let (Some(letter_id), Some(id), Some(attempts), Some(error)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    {
        dead_letters.push(NewDeadLetter {
            letter_id: letter_id?,
            id: id?,
            attempts: attempts_of(&attempts?),
            error: readable(&error?),
        });
    }
    let dead_letter_error = (!dead_letter_error.is_empty()).then_some(dead_letter_error);
    Some(Notices { damaged: u64::try_from(damaged).unwrap_or_default(), dead_letter_error, dead_letters })
}

pub(super) fn read_maintain(reply: Reply) -> Result<MaintainReply> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    match &parts[..] {
        [Reply::Int(0)] => Ok(MaintainReply::Lost),
        [
            Reply::Int(1),
            Reply::Int(due_in),
            Reply::Int(lag),
            Reply::Int(grace),
            Reply::Bulk(parked_cursor),
            Reply::Int(needs_audit),
            Reply::Int(damaged),
        ] => Ok(MaintainReply::Fine(GroupState {
            due_in: millis(*due_in),
            lag: u64::try_from(*lag).unwrap_or_default(),
            grace: millis(*grace).unwrap_or_default(),
            parked_cursor: parked_cursor.clone(),
            needs_audit: *needs_audit == 1,
            damaged: u64::try_from(*damaged).unwrap_or_default(),
        })),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn read_audit(reply: Reply) -> Result<AuditPage> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let [Reply::Bulk(phase), Reply::Bulk(cursor), Reply::Int(damaged), Reply::Int(restored)] = &parts[..] else {
        return Err(Error::unexpected_reply());
    };
    let count = |count: i64| u64::try_from(count).unwrap_or_default();
    Ok(AuditPage {
        next: (!phase.is_empty()).then(|| AuditCursor { phase: phase.clone(), cursor: cursor.clone() }),
        damaged: count(*damaged),
        restored: count(*restored),
    })
}

fn millis(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// A message that is delivered for the first time. `about` is its key, or all its fields.
fn fresh_message(id: Reply, about: Reply, data: Reply) -> Option<Message> {
    let about = match about {
        Reply::Bulk(key) => key,
        fields => return message(id, fields, 1, None),
    };
    let key = (!about.is_empty()).then_some(about);
    Some(Message {
        id: entry_id(id)?,
        key,
        deliveries: 1,
        earlier_attempts: 0,
        last_error: None,
        data: Some(bulk(data)?),
    })
}

/// A message from an entry of the stream. Of other programs' entries only the fields `data` and `key` are read, at any place. The first
/// field of a name counts, as in the scripts.
fn message(id: Reply, fields: Reply, deliveries: u64, last_error: Option<Bytes>) -> Option<Message> {
    let Reply::Array(fields) = fields else { return None };
    let mut fields = fields.into_iter().map(bulk);
    let (mut key, mut data, mut earlier_attempts, mut own_error) = (None, None, None, None);
    while let (Some(Some(name)), Some(Some(value))) = (fields.next(), fields.next()) {
        let field = match &name[..] {
            b"key" => &mut key,
            b"data" => &mut data,
            b"~attempts" => &mut earlier_attempts,
            b"~error" => &mut own_error,
            _ => continue,
        };
        field.get_or_insert(value);
    }
    Some(Message {
        id: entry_id(id)?,
        key: key.filter(|key| !key.is_empty()),
        deliveries,
        earlier_attempts: earlier_attempts.map_or(0, |text| attempts_of(&text)),
        last_error: last_error.or(own_error).map(|text| readable(&text)),
        data,
    })
}

/// The attempts before the message became a dead letter. Other programs may have written any text.
pub(super) fn attempts_of(text: &[u8]) -> u64 {
    number(text).filter(|attempts| *attempts <= MAX_EARLIER).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Bulk(Bytes::from_static(text.as_bytes()))
    }

    fn array<const N: usize>(parts: [Reply; N]) -> Reply {
        Reply::Array(parts.into())
    }

    #[test]
    fn a_poll_returns_redelivered_messages_before_new_ones() {
        let reply = array([
            Reply::Int(1),
            Reply::Int(-1),
            Reply::Int(1),
            array([array([
                Reply::Int(3),
                text("no"),
                text("1-0"),
                array([text("key"), text("k"), text("data"), text("{}")]),
            ])]),
            array([
                text("2-0"),
                text(""),
                text("[]"),
                text("3-0"),
                text("k"),
                text("1"),
                text("4-0"),
                array([text("key"), text("k"), text("other"), text("")]),
                text(""),
            ]),
        ]);
        let PollReply::Given { due_in: None, more: true, messages, .. } = read_poll(reply).unwrap() else {
            panic!("given")
        };
        assert_eq!((&messages[0].id[..], messages[0].attempts_before()), (&b"1-0"[..], 2));
        assert_eq!(
            (messages[0].key.as_deref(), messages[0].last_error.as_deref()),
            (Some(&b"k"[..]), Some(&b"no"[..]))
        );
        assert_eq!(
            (&messages[1].id[..], messages[1].attempts_before(), messages[1].data.as_deref()),
            (&b"2-0"[..], 0, Some(&b"[]"[..]))
        );
        let of = |at: usize| (messages[at].key.as_deref(), messages[at].data.as_deref());
        assert_eq!((of(1).0, of(2), of(3)), (None, (Some(&b"k"[..]), Some(&b"1"[..])), (Some(&b"k"[..]), None)));
    }

    #[test]
    fn an_id_that_is_not_ascii_is_refused() {
        let id = || Reply::Bulk(Bytes::from_static(b"2\x960"));
        for about in [text("k"), array([text("data"), text("{}")])] {
            assert_eq!(fresh_message(id(), about.clone(), text("{}")), None);
            assert!(fresh_message(text("2-0"), about, text("{}")).is_some());
        }
    }

    #[test]
    fn a_redriven_message_has_its_earlier_attempts_and_error() {
        let fields = array([
            text("~group"),
            text("g"),
            text("~attempts"),
            text("5"),
            text("~error"),
            text("no"),
            text("data"),
            text("{}"),
        ]);
        let message = message(text("9-1"), fields, 1, None).unwrap();
        assert_eq!((message.attempts_before(), message.last_error.as_deref()), (5, Some(&b"no"[..])));
    }

    #[test]
    fn the_first_field_of_a_name_counts_at_any_place() {
        let fields = ["data", "1", "key", "k", "key", "l", "data", "2"];
        let message = message(text("9-1"), array(fields.map(text)), 1, None).unwrap();
        assert_eq!((message.key.as_deref(), message.data.as_deref()), (Some(&b"k"[..]), Some(&b"1"[..])));
        let empty = super::message(text("9-1"), array(["key", "", "key", "l"].map(text)), 1, None).unwrap();
        assert_eq!(empty.key, None);
    }

    #[test]
    fn an_entry_of_another_program_has_no_data() {
        let message = message(text("9-1"), array([text("temperature"), text("21")]), 1, None).unwrap();
        assert_eq!((message.key, message.data), (None, None));
    }

    #[test]
    fn a_reply_says_that_the_consumer_is_no_longer_a_member() {
        assert_eq!(read_poll(array([Reply::Int(0)])).unwrap(), PollReply::Lost);
        assert_eq!(read_maintain(array([Reply::Int(0)])).unwrap(), MaintainReply::Lost);
    }
}
