//! One question of a consumer to the server, and what it answers.

use std::time::Duration;

use bytes::Bytes;

use super::hands::{Hands, Message, Settlement, What, last_of_key};
use super::scripts::{self, bulk, entry_id, number, operation, readable};
use super::settings::Settings;
use crate::connection::{Command, Packed, Script};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// Parked messages of a group from which on it reads nothing new: they cost memory in Redis.
const WINDOW: u64 = 10_000;

/// Settlements that one question tells, and those of them that are more than an acknowledgement: a script holds up everybody else.
const MOST_TOLD: usize = 500;
const MOST_DEAR: usize = 125;

/// More attempts than any message can have had: such a number is none.
const MAX_EARLIER: u64 = 1 << 50;

/// What a consumer has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// For what failed before.
    pub(super) slots: usize,
    /// For any other message, each of another key.
    pub(super) heads: usize,
    /// For those that follow one of their key.
    pub(super) followers: usize,
}

/// What a turn gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The consumer is not one of the group any more.
    Lost,
    Given {
        due_in: Option<Duration>,
        more: bool,
        /// Has the group read all that there is?
        all_read: bool,
        messages: Vec<Message>,
        news: News,
    },
}

/// What there is to tell of a turn beside its messages, as a rule nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Records that could not be read, and are removed.
    pub(super) damaged: u64,
    /// Why a dead letter could not be written.
    pub(super) trouble: Option<Bytes>,
    pub(super) buried: Vec<Buried>,
}

/// A message that became a dead letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Buried {
    /// Its id among the dead letters.
    pub(super) letter: Bytes,
    /// Its id in the topic's stream.
    pub(super) id: Bytes,
    pub(super) attempts: u64,
    pub(super) error: Bytes,
}

/// What tending gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tended {
    Lost,
    Fine(State),
}

/// What tending gave of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) due_in: Option<Duration>,
    pub(super) lag: u64,
    /// For how long it must not judge others: its own lease was over, so theirs may be too, though they live.
    pub(super) lenient: Duration,
    /// Where the look at what is parked goes on.
    pub(super) goes_on: Bytes,
    /// Must the group's records be audited?
    pub(super) amiss: bool,
    /// Records that could not be read, and are removed.
    pub(super) damaged: u64,
}

/// One page of an audit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Audited {
    /// Where the next one begins; `None`: there is none.
    pub(super) next: Option<Place>,
    pub(super) damaged: u64,
    /// Messages that were put back.
    pub(super) restored: u64,
}

/// Where an audit goes on: the phase, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    phase: Bytes,
    cursor: Bytes,
}

impl Place {
    pub(super) fn first() -> Self {
        Self { phase: Bytes::from_static(b"due"), cursor: Bytes::new() }
    }
}

/// Begins a call of `script` with the keys and arguments that all scripts of a group have, and `more` arguments.
fn begin(script: &Script, settings: &Settings, name: &str, room: usize, more: usize) -> Packed {
    begin_with(script, settings, name, None, room, more)
}

/// As [`begin`], with one more key.
fn begin_with(
    script: &Script,
    settings: &Settings,
    name: &str,
    key: Option<&Bytes>,
    room: usize,
    more: usize,
) -> Packed {
    let keys = &settings.keys;
    let lease = u64::try_from(settings.lease.as_millis()).unwrap_or(u64::MAX);
    let keys_of_group = [&keys.stream, &keys.lanes, &keys.due, &keys.parked, &keys.notes, &keys.consumers, &keys.dead];
    let size = keys_of_group.iter().map(|key| key.len() + 16).sum::<usize>();
    let count = keys_of_group.len() + usize::from(key.is_some());
    let packed = Packed::sized(size + 256 + room).script(script, count, 4 + more);
    let packed = keys_of_group.into_iter().chain(key).fold(packed, |packed, key| packed.word(key));
    packed.word(&settings.group).word(name.as_bytes()).number(lease).word(&settings.topic_keys.wake())
}

/// A call of a script that is given nothing more.
fn plain(operation: Operation, script: &Script, settings: &Settings, name: &str) -> Command {
    begin(script, settings, name, 0, 0).runs(operation, script)
}

/// `may_judge`: may it take over from others? `looked`: where its look at what is parked goes on. `counts`: may there be what nobody
/// has read?
pub(super) fn tend(settings: &Settings, name: &str, may_judge: bool, looked: &[u8], counts: bool) -> Command {
    let unread = settings.topic_keys.unread();
    let packed = begin_with(&scripts::TEND, settings, name, Some(&unread), 0, 5).number(u64::from(may_judge));
    let packed = packed.number(settings.retry.longest_ms()).word(looked).number(u64::from(counts));
    packed.number(u64::from(fastrand::u32(..))).runs(*operation::TEND, &scripts::TEND)
}

pub(super) fn audit(settings: &Settings, name: &str, place: &Place) -> Command {
    let packed = begin(&scripts::AUDIT, settings, name, 0, 2).word(&place.phase).word(&place.cursor);
    packed.runs(*operation::AUDIT, &scripts::AUDIT)
}

pub(super) fn leave(settings: &Settings, name: &str) -> Command {
    plain(*operation::LEAVE, &scripts::LEAVE, settings, name)
}

/// Joins from `from` on, where the group is (`again`: anew) to be made.
pub(super) fn join(settings: &Settings, name: &str, from: &[u8], again: bool) -> Command {
    let packed = begin(&scripts::JOIN, settings, name, 0, 3).word(from).number(u64::from(again));
    packed.number(settings.retry.longest_ms()).runs(*operation::JOIN, &scripts::JOIN)
}

/// Why a consumer may have been given more than it knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    None,
    /// An answer was lost: what it gave was never seen, so it was not tried.
    Answer,
    /// The server may have come back without what it was told last: what is pending may have been handled.
    Server,
}

/// Settles as many as one question may, and takes. With a doubt, what is in hand is told too. Gives how many are settled as well.
pub(super) fn step(
    settings: &Settings,
    name: &str,
    room: Room,
    hands: &Hands,
    settlements: &[Settlement],
    doubt: Doubt,
) -> (Command, usize) {
    let script = &*scripts::STEP;
    // Of what is acknowledged and has no note only the id matters, and the key when it is the last of it.
    let is_plain = |settlement: &Settlement| !settlement.noted && settlement.what == What::Acknowledge;
    let last = last_of_key(settlements, hands);
    let is_dear = |(settlement, last): &(&Settlement, bool)| *last || !is_plain(settlement);
    let each = || settlements.iter().zip(last.iter().copied());
    let told = each()
        .scan(MOST_DEAR, |left, one| {
            *left = left.checked_sub(usize::from(is_dear(&one)))?;
            Some(())
        })
        .take(MOST_TOLD)
        .count();
    let plain: Vec<&Bytes> = settlements[..told].iter().filter(|one| is_plain(one)).map(|one| &one.id).collect();
    let others: Vec<(&Settlement, bool)> = each().take(told).filter(is_dear).collect();
    let known: Vec<(&Bytes, Option<&Bytes>)> = if doubt > Doubt::None {
        hands.known().chain(settlements.iter().map(|one| (&one.id, one.key.as_ref()))).collect()
    } else {
        Vec::new()
    };
    let count = 7 + 2 * known.len() + 1 + plain.len() + 6 * others.len();
    let mut packed = begin(script, settings, name, 64 * told, count)
        .number(settings.retry.attempts)
        .number(room.slots as u64)
        .number(room.heads as u64)
        .number(room.followers as u64)
        .number(WINDOW)
        .number(u64::from(doubt == Doubt::Answer));
    packed = if doubt > Doubt::None { packed.number(known.len() as u64) } else { packed.signed(-1) };
    for (id, key) in known {
        packed = packed.word(id).word(key.map_or(&b""[..], |key| key));
    }
    packed = packed.number(plain.len() as u64);
    packed = plain.into_iter().fold(packed, |packed, id| packed.word(id));
    for (settlement, last) in others {
        let (what, given, error): (&[u8], u64, &[u8]) = match &settlement.what {
            What::Acknowledge if is_plain(settlement) => (b"free", 0, b""),
            What::Acknowledge => (b"ack", 0, b""),
            What::Retry(delay, error) => (b"retry", *delay, error),
            What::Return(deliveries) => (b"return", *deliveries, b""),
            What::Bury(attempts, error) => (b"dead", *attempts, error),
        };
        packed = packed
            .word(what)
            .word(&settlement.id)
            .word(settlement.key.as_deref().unwrap_or_default())
            .number(u64::from(last))
            .number(given)
            .word(error);
    }
    (packed.runs(*operation::STEP, script), told)
}

pub(super) fn turn_of(reply: Reply) -> Result<Turn> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Reply::Int(0)), ..) => Ok(Turn::Lost),
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
            let news = match parts.next() {
                Some(damaged) => news(damaged, parts.next(), parts.next()).ok_or_else(Error::unexpected_reply)?,
                None => News::default(),
            };
            Ok(Turn::Given { due_in: millis(due_in), more: more == 1, all_read: more == 0, messages, news })
        }
        _ => Err(Error::unexpected_reply()),
    }
}

fn news(damaged: Reply, trouble: Option<Reply>, buried: Option<Reply>) -> Option<News> {
    let (Reply::Int(damaged), Some(trouble), Some(Reply::Array(parts))) = (damaged, trouble.and_then(bulk), buried)
    else {
        return None;
    };
    let mut buried = Vec::with_capacity(parts.len() / 4);
    let mut parts = parts.into_iter().map(bulk);
    while let (Some(letter), Some(id), Some(attempts), Some(error)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    {
        buried.push(Buried { letter: letter?, id: id?, attempts: attempts_of(&attempts?), error: readable(&error?) });
    }
    let trouble = (!trouble.is_empty()).then_some(trouble);
    Some(News { damaged: u64::try_from(damaged).unwrap_or_default(), trouble, buried })
}

pub(super) fn tended_of(reply: Reply) -> Result<Tended> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    match &parts[..] {
        [Reply::Int(0)] => Ok(Tended::Lost),
        [
            Reply::Int(1),
            Reply::Int(due_in),
            Reply::Int(lag),
            Reply::Int(lenient),
            Reply::Bulk(goes_on),
            Reply::Int(amiss),
            Reply::Int(damaged),
        ] => Ok(Tended::Fine(State {
            due_in: millis(*due_in),
            lag: u64::try_from(*lag).unwrap_or_default(),
            lenient: millis(*lenient).unwrap_or_default(),
            goes_on: goes_on.clone(),
            amiss: *amiss == 1,
            damaged: u64::try_from(*damaged).unwrap_or_default(),
        })),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn audited_of(reply: Reply) -> Result<Audited> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let [Reply::Bulk(phase), Reply::Bulk(cursor), Reply::Int(damaged), Reply::Int(restored)] = &parts[..] else {
        return Err(Error::unexpected_reply());
    };
    let count = |count: i64| u64::try_from(count).unwrap_or_default();
    Ok(Audited {
        next: (!phase.is_empty()).then(|| Place { phase: phase.clone(), cursor: cursor.clone() }),
        damaged: count(*damaged),
        restored: count(*restored),
    })
}

fn millis(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// A message that is given for the first time. `about`: its key, or all its fields.
fn fresh_message(id: Reply, about: Reply, data: Reply) -> Option<Message> {
    let about = match about {
        Reply::Bulk(key) => key,
        fields => return message(id, fields, 1, None),
    };
    let key = (!about.is_empty()).then_some(about);
    Some(Message { id: entry_id(id)?, key, deliveries: 1, earlier: 0, last_error: None, data: Some(bulk(data)?) })
}

/// A message out of an entry of the stream. Of other programs' entries only the fields `data` and `key` are understood, wherever they
/// stand; of several of one name the first, as in the scripts.
fn message(id: Reply, fields: Reply, deliveries: u64, last_error: Option<Bytes>) -> Option<Message> {
    let Reply::Array(fields) = fields else { return None };
    let mut fields = fields.into_iter().map(bulk);
    let (mut key, mut data, mut earlier, mut own_error) = (None, None, None, None);
    while let (Some(Some(name)), Some(Some(value))) = (fields.next(), fields.next()) {
        let field = match &name[..] {
            b"key" => &mut key,
            b"data" => &mut data,
            b"~attempts" => &mut earlier,
            b"~error" => &mut own_error,
            _ => continue,
        };
        field.get_or_insert(value);
    }
    Some(Message {
        id: entry_id(id)?,
        key: key.filter(|key| !key.is_empty()),
        deliveries,
        earlier: earlier.map_or(0, |text| attempts_of(&text)),
        last_error: last_error.or(own_error).map(|text| readable(&text)),
        data,
    })
}

/// How often a message was tried in earlier lives: anyone may have written that.
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
    fn a_turn_gives_first_what_was_given_before() {
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
        let Turn::Given { due_in: None, more: true, messages, .. } = turn_of(reply).unwrap() else { panic!("given") };
        assert_eq!((&messages[0].id[..], messages[0].prior()), (&b"1-0"[..], 2));
        assert_eq!(
            (messages[0].key.as_deref(), messages[0].last_error.as_deref()),
            (Some(&b"k"[..]), Some(&b"no"[..]))
        );
        assert_eq!(
            (&messages[1].id[..], messages[1].prior(), messages[1].data.as_deref()),
            (&b"2-0"[..], 0, Some(&b"[]"[..]))
        );
        let of = |at: usize| (messages[at].key.as_deref(), messages[at].data.as_deref());
        assert_eq!((of(1).0, of(2), of(3)), (None, (Some(&b"k"[..]), Some(&b"1"[..])), (Some(&b"k"[..]), None)));
    }

    #[test]
    fn an_id_that_is_no_text_is_of_no_stream() {
        let id = || Reply::Bulk(Bytes::from_static(b"2\x960"));
        for about in [text("k"), array([text("data"), text("{}")])] {
            assert_eq!(fresh_message(id(), about.clone(), text("{}")), None);
            assert!(fresh_message(text("2-0"), about, text("{}")).is_some());
        }
    }

    #[test]
    fn a_redriven_message_brings_its_attempts_and_error() {
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
        assert_eq!((message.prior(), message.last_error.as_deref()), (5, Some(&b"no"[..])));
    }

    #[test]
    fn the_first_field_of_a_name_counts_wherever_it_stands() {
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
    fn a_consumer_that_is_none_any_more_is_told_so() {
        assert_eq!(turn_of(array([Reply::Int(0)])).unwrap(), Turn::Lost);
        assert_eq!(tended_of(array([Reply::Int(0)])).unwrap(), Tended::Lost);
    }
}
