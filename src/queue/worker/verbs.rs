//! What JavaScript calls on a worker.

use std::time::Duration;

use bytes::Bytes;

use super::shift::Mode;
use super::slot::{Ending, id_text};
use super::{Call, Worker};
use crate::arguments::Arguments;
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::queue::changes::{note, read_line};
use crate::queue::options::{MAX_DELAY_MS, check_data};
use crate::queue::reading::children_of;

const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// The verbs of a worker.
pub const CALLS: &[(&str, Call)] = &[
    ("worker.run", run),
    ("worker.pause", pause),
    ("worker.resume", run),
    ("worker.close", close),
    ("worker.settle", settle),
    ("worker.updateData", update_data),
    ("worker.updateProgress", update_progress),
    ("worker.log", log),
    ("worker.children", children),
    ("worker.owner", owner),
];

fn run(worker: &Worker, _args: &[Arg<'_>], answer: Answer) {
    let inner = &worker.0;
    let (starts, refused) = {
        let mut shift = inner.shift();
        let refused = matches!(shift.mode, Mode::Closing | Mode::Closed);
        let starts = shift.mode == Mode::Off;
        if !refused {
            shift.mode = Mode::Running;
            shift.hungry = true;
        }
        (starts, refused)
    };
    if refused {
        return answer.give(Err(Error::new(ErrorKind::Closed, "TaskWorker.run: the worker is closed")));
    }
    if starts {
        inner.start_clock();
        inner.begin();
    } else {
        inner.pump();
    }
    answer.give(Ok(Outcome::Nothing));
}

fn pause(worker: &Worker, _args: &[Arg<'_>], answer: Answer) {
    worker.0.pause(answer);
}

/// Argument: graceMs.
fn close(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    match Arguments::of("TaskWorker.close", args).millis(0, "graceMs", 0.0) {
        Ok(grace) => {
            let inner = worker.0.clone();
            inner.stop_claiming();
            lifecycle::spawn(async move {
                answer.give(Ok(Outcome::Bool(inner.close(grace.unwrap_or(DEFAULT_GRACE)).await)));
            });
        }
        Err(error) => answer.give(Err(error)),
    }
}

/// Arguments: slot, kind and two values of each outcome.
fn settle(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    let inner = &worker.0;
    {
        let mut shift = inner.shift();
        for outcome in args.chunks(4) {
            let [Arg::Number(slot), Arg::Number(kind), ..] = outcome else { continue };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number this side gave out")]
            let Some(slot) = shift.take(*slot as u64) else { continue };
            let values = (outcome.get(2).copied(), outcome.get(3).copied());
            let outgoing = slot.end(&inner.core, ending(*kind, values));
            shift.outgoing.push(outgoing);
            shift.hungry = true;
        }
    }
    inner.pump();
    answer.give(Ok(Outcome::Nothing));
}

fn ending(kind: f64, (first, second): (Option<Arg<'_>>, Option<Arg<'_>>)) -> Ending {
    let text = |arg: Option<Arg<'_>>| match arg {
        Some(Arg::Text(text)) => Some(text.to_owned()),
        _ => None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number that the face gives")]
    match kind as u8 {
        1 => Ending::Completed(text(first).map(Bytes::from).unwrap_or_default()),
        4 => match first {
            Some(Arg::Number(ms)) if (0.0..=MAX_DELAY_MS as f64).contains(&ms) => Ending::PutOff(ms as u64),
            _ => Ending::Failed {
                reason: format!("DelayError.delayMs: expected a number of milliseconds from 0 to {MAX_DELAY_MS}"),
                stack: None,
                for_good: false,
            },
        },
        5 => Ending::HandedBack,
        kind => Ending::Failed {
            reason: text(first).unwrap_or_else(|| "the processor failed".to_owned()),
            stack: text(second),
            for_good: kind != 2,
        },
    }
}

/// The job in a slot: its id and how its record begins as long as it is held.
fn in_hand(worker: &Worker, args: &Arguments<'_>, said: &str) -> Result<(String, String)> {
    let number = args.id(0)?;
    let shift = worker.0.shift();
    match shift.slots.get(&number) {
        Some(slot) => Ok((id_text(&slot.id), slot.fence())),
        None => Err(Error::new(ErrorKind::LeaseLost, format!("{said}: the job is not in hand any more"))),
    }
}

/// Notes something of a job in hand, under its lease: what is said, the script's verb, its arguments and their value.
fn note_in_hand(
    worker: &Worker,
    (said, verb): (&'static str, &'static str),
    args: &[Arg<'_>],
    answer: Answer,
    value: impl FnOnce(&Arguments<'_>) -> Result<Bytes>,
) {
    let args = Arguments::of(said, args);
    let read = || -> Result<_> { Ok((in_hand(worker, &args, said)?, value(&args)?)) };
    match read() {
        Ok(((id, fence), value)) => {
            let core = worker.0.core.clone();
            lifecycle::spawn(async move {
                let noted = note(&core, said, verb, &id, &fence, value).await;
                answer.give(noted.map(|lines| match verb {
                    "log" => Outcome::Number(lines as f64),
                    _ => Outcome::Nothing,
                }));
            });
        }
        Err(error) => answer.give(Err(error)),
    }
}

/// Arguments: slot, data.
fn update_data(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    note_in_hand(worker, ("Job.updateData", "data"), args, answer, |args| {
        json_of(args, "data", "Job.updateData: data")
    });
}

/// Arguments: slot, progress.
fn update_progress(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    let said = ("Job.updateProgress", "progress");
    note_in_hand(worker, said, args, answer, |args| json_of(args, "progress", "Job.updateProgress: progress"));
}

fn json_of(args: &Arguments<'_>, name: &str, said: &str) -> Result<Bytes> {
    let json = args.text(1, name)?;
    check_data(said, json)?;
    Ok(Bytes::copy_from_slice(json))
}

/// Arguments: slot, line.
fn log(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    note_in_hand(worker, ("Job.log", "log"), args, answer, read_line);
}

/// Argument: slot.
fn children(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    match in_hand(worker, &Arguments::of("context.children", args), "context.children") {
        Ok((id, _)) => {
            let core = worker.0.core.clone();
            lifecycle::spawn(async move { answer.give(children_of(&core, &id).await) });
        }
        Err(error) => answer.give(Err(error)),
    }
}

/// Arguments: id and epoch of the worker's registration, namespace of the registry inside the manager's.
fn owner(worker: &Worker, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("TaskWorker.run", args);
    let read = || -> Result<_> {
        let (id, epoch) = (args.text(0, "registry: id")?, args.count(1, "registry: epoch")?);
        let namespace = args.text_or_null(2, "registry: namespace")?.unwrap_or_default();
        Ok((String::from_utf8_lossy(id).into_owned(), epoch, String::from_utf8_lossy(namespace).into_owned()))
    };
    match read() {
        Ok((id, epoch, namespace)) => {
            let inner = worker.0.clone();
            lifecycle::spawn(async move {
                answer.give(inner.register(&id, epoch, &namespace).await.map(|()| Outcome::Nothing));
            });
        }
        Err(error) => answer.give(Err(error)),
    }
}
