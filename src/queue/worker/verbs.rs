//! The verbs of a worker that JavaScript calls.

use std::time::Duration;

use bytes::Bytes;

use super::Worker;
use super::slot::{Ending, id_text};
use super::state::Mode;
use crate::arguments::Arguments;
use crate::crossing::codes::{OUTCOME_VALUES, OutcomeKind};
use crate::crossing::{Arg, Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::queue::Queue;
use crate::queue::changes::{read_line, update};
use crate::queue::options::{MAX_DELAY_MS, check_data};
use crate::queue::reading::children_of;
use crate::verb::{Call, Class, Verb, verbs};

const DEFAULT_GRACE: Duration = Duration::from_secs(30);

impl Class for Worker {
    const NAME: &'static str = "worker";
    const VERBS: &'static [Verb<Self>] = verbs! { "worker" "TaskWorker" {
        "run" => run;
        "pause" => pause;
        "resume" as "TaskWorker.run" => run;
        "close" => close;
        "settle" => settle;
        "updateData" as "Job.updateData" => update_data;
        "updateProgress" as "Job.updateProgress" => update_progress;
        "log" as "Job.log" => log;
        "children" as "context.children" => children;
        "owner" as "TaskWorker.run" => owner;
    } };
    type Parent = Queue;

    fn open(queue: &Queue, options: &str, outlet: Outlet) -> Result<Self> {
        Self::new(queue, Options::parse("WorkerOptions", options)?, outlet)
    }
}

fn run(worker: &Worker, call: Call<'_>) {
    let inner = &worker.0;
    let (starts, refused) = {
        let mut state = inner.state();
        let refused = state.mode.is_ending();
        let starts = state.mode == Mode::Off;
        if !refused {
            state.mode = Mode::Running;
            state.claiming.want_jobs();
        }
        (starts, refused)
    };
    if refused {
        return call.give(Err(Error::new(ErrorKind::Closed, "TaskWorker.run: the worker is closed")));
    }
    if starts {
        inner.start_clock();
        inner.begin();
    } else {
        inner.pump();
    }
    call.give(Ok(Outcome::Nothing));
}

fn pause(worker: &Worker, call: Call<'_>) {
    worker.0.pause(call.answer);
}

/// Argument: graceMs.
fn close(worker: &Worker, call: Call<'_>) {
    match call.millis(0, "graceMs", 0.0) {
        Ok(grace) => {
            let inner = worker.0.clone();
            inner.stop_claiming();
            call.run(|_| Ok(async move { Ok(Outcome::Bool(inner.close(grace.unwrap_or(DEFAULT_GRACE)).await)) }));
        }
        Err(error) => call.give(Err(error)),
    }
}

/// Arguments: for each outcome its slot, its kind and two values.
fn settle(worker: &Worker, call: Call<'_>) {
    let inner = &worker.0;
    {
        let mut state = inner.state();
        for outcome in call.from(0).chunks(OUTCOME_VALUES as usize) {
            let [Arg::Number(slot), Arg::Number(kind), ..] = outcome else { continue };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number of a slot")]
            let Some(slot) = state.in_flight.take(*slot as u64) else { continue };
            let values = (outcome.get(2).copied(), outcome.get(3).copied());
            state.in_flight.settle(slot.end(&inner.core, ending(*kind, values)));
            state.claiming.want_jobs();
        }
    }
    inner.pump();
    call.give(Ok(Outcome::Nothing));
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers that TypeScript passes")]
fn ending(kind: f64, (first, second): (Option<Arg<'_>>, Option<Arg<'_>>)) -> Ending {
    let text = |arg: Option<Arg<'_>>| match arg {
        Some(Arg::Text(text)) => Some(text.to_owned()),
        _ => None,
    };
    let kind = OutcomeKind::of(kind as u32);
    match kind {
        Some(OutcomeKind::Completed) => Ending::Completed(text(first).map(Bytes::from).unwrap_or_default()),
        Some(OutcomeKind::Delayed) => match first {
            Some(Arg::Number(ms)) if (0.0..=MAX_DELAY_MS as f64).contains(&ms) => Ending::Delayed(ms as u64),
            _ => Ending::Failed {
                reason: format!("DelayError.delayMs: expected a number of milliseconds from 0 to {MAX_DELAY_MS}"),
                stack: None,
                for_good: false,
            },
        },
        Some(OutcomeKind::HandedBack) => Ending::HandedBack,
        Some(OutcomeKind::Failed | OutcomeKind::FailedForGood) | None => Ending::Failed {
            reason: text(first).unwrap_or_else(|| "the processor failed".to_owned()),
            stack: text(second),
            for_good: kind != Some(OutcomeKind::Failed),
        },
    }
}

/// The job in a slot: its id, and the start of its run record while this worker holds the job.
fn held_job(worker: &Worker, args: &Arguments<'_>) -> Result<(String, String)> {
    let number = args.id(0)?;
    let state = worker.0.state();
    match state.in_flight.slot(number) {
        Some(slot) => Ok((id_text(&slot.id), slot.fence())),
        None => Err(Error::new(ErrorKind::LeaseLost, format!("{}: the job is no longer in flight", args.owner()))),
    }
}

/// Writes data, progress or a log line of a job in flight, under the worker's lease. `verb` is the script's.
fn update_held(
    worker: &Worker,
    call: Call<'_>,
    verb: &'static str,
    value: impl FnOnce(&Arguments<'_>) -> Result<Bytes>,
) {
    let core = worker.0.core.clone();
    call.run(|call| {
        let ((id, fence), value, owner) = (held_job(worker, call)?, value(call)?, call.owner());
        Ok(async move {
            let lines = update(&core, owner, verb, &id, &fence, value).await?;
            Ok(if verb == "log" { Outcome::Number(lines as f64) } else { Outcome::Nothing })
        })
    });
}

/// Arguments: slot, data.
fn update_data(worker: &Worker, call: Call<'_>) {
    update_held(worker, call, "data", |args| json_of(args, "data", "Job.updateData: data"));
}

/// Arguments: slot, progress.
fn update_progress(worker: &Worker, call: Call<'_>) {
    update_held(worker, call, "progress", |args| json_of(args, "progress", "Job.updateProgress: progress"));
}

fn json_of(args: &Arguments<'_>, name: &str, said: &str) -> Result<Bytes> {
    let json = args.text(1, name)?;
    check_data(said, json)?;
    Ok(Bytes::copy_from_slice(json))
}

/// Arguments: slot, line.
fn log(worker: &Worker, call: Call<'_>) {
    update_held(worker, call, "log", read_line);
}

/// Argument: slot.
fn children(worker: &Worker, call: Call<'_>) {
    let core = worker.0.core.clone();
    call.run(|call| {
        let (id, _) = held_job(worker, call)?;
        Ok(async move { children_of(&core, &id).await })
    });
}

/// Arguments: id and epoch of the worker's registration, namespace of the registry inside the manager's.
fn owner(worker: &Worker, call: Call<'_>) {
    let inner = worker.0.clone();
    call.run(|call| {
        let (id, epoch) = (call.text(0, "registry: id")?, call.count(1, "registry: epoch")?);
        let namespace = call.text_or_null(2, "registry: namespace")?.unwrap_or_default();
        let (id, namespace) =
            (String::from_utf8_lossy(id).into_owned(), String::from_utf8_lossy(namespace).into_owned());
        Ok(async move { inner.register(&id, epoch, &namespace).await.map(|()| Outcome::Nothing) })
    });
}
