//! Assembles the answers to a request that was sent in parts.

use tokio::sync::oneshot;

use super::route::Assembly;
use crate::connection::request::Request;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::redis_commands::Merge;
use crate::resp::Reply;

/// A part of a request that was sent.
pub(super) struct SentPart {
    pub(super) answer: oneshot::Receiver<Result<Reply>>,
    pub(super) elements: Vec<usize>,
}

/// Waits for every part, then settles `request`. Each part is settled by its own deadline, so the wait ends.
pub(super) async fn gather(request: Request, parts: Vec<SentPart>, assembly: Assembly) {
    let mut answers = Vec::with_capacity(parts.len());
    for part in parts {
        let answer = part.answer.await.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Closed, "the connection manager has ended");
            Err(error.with_delivery(Delivery::MaybeExecuted))
        });
        answers.push((part.elements, answer));
    }
    let safe = request.command.safe;
    crate::crossing::batch(|| request.settle(put_together(answers, assembly, safe), std::time::Instant::now()));
}

fn put_together(answers: Vec<(Vec<usize>, Result<Reply>)>, assembly: Assembly, safe: bool) -> Result<Reply> {
    if assembly == Assembly::Each {
        return each(answers);
    }
    let whole = answers.len() == 1;
    let mut deliveries = Vec::with_capacity(answers.len());
    let mut replies = Vec::with_capacity(answers.len());
    let mut failure: Option<Error> = None;
    for (elements, answer) in answers {
        match answer {
            Ok(reply) => {
                deliveries.push(Delivery::MaybeExecuted);
                replies.push((elements, reply));
            }
            Err(error) => {
                deliveries.push(error.delivery());
                failure.get_or_insert(error);
            }
        }
    }
    match failure {
        None => assembled(replies, assembly).ok_or_else(mismatch),
        Some(error) if whole || safe => Err(error),
        Some(error) => {
            let agree = deliveries.iter().all(|delivery| *delivery == deliveries[0]);
            let delivery = if agree { deliveries[0] } else { Delivery::MaybeExecuted };
            Err(error
                .with_message(|message| {
                    format!("on one of the cluster's nodes, others may have executed it: {message}")
                })
                .with_delivery(delivery))
        }
    }
}

/// The answers as on one connection: an error reply is one of them. If a part has no answer, the whole request has none.
fn each(answers: Vec<(Vec<usize>, Result<Reply>)>) -> Result<Reply> {
    let mut replies = Vec::with_capacity(answers.len());
    for (_, answer) in answers {
        replies.push(match answer {
            Err(error) if error.delivery() == Delivery::Rejected => {
                Reply::Error(error.message().as_bytes().to_vec().into())
            }
            other => other?,
        });
    }
    Ok(Reply::Array(replies))
}

fn assembled(replies: Vec<(Vec<usize>, Reply)>, assembly: Assembly) -> Option<Reply> {
    match assembly {
        Assembly::Each => None,
        Assembly::Merged(merge) => merged(replies, merge),
        Assembly::Scanned(step) => step.answer(replies.into_iter().next()?.1),
    }
}

fn merged(replies: Vec<(Vec<usize>, Reply)>, merge: Merge) -> Option<Reply> {
    match merge {
        Merge::Array => {
            let mut whole = vec![Reply::Nil; replies.iter().map(|(elements, _)| elements.len()).sum()];
            for (elements, reply) in replies {
                let Reply::Array(items) = reply else { return None };
                if items.len() != elements.len() {
                    return None;
                }
                for (at, item) in elements.into_iter().zip(items) {
                    *whole.get_mut(at)? = item;
                }
            }
            Some(Reply::Array(whole))
        }
        Merge::Concat => {
            let mut whole = Vec::new();
            for (_, reply) in replies {
                let Reply::Array(items) = reply else { return None };
                whole.extend(items);
            }
            Some(Reply::Array(whole))
        }
        Merge::Text => {
            let mut whole = Vec::new();
            for (_, reply) in replies {
                let Reply::Bulk(text) = reply else { return None };
                whole.extend_from_slice(&text);
            }
            Some(Reply::Bulk(whole.into()))
        }
        Merge::Sum => replies.iter().map(|(_, reply)| int(reply)).sum::<Option<i64>>().map(Reply::Int),
        Merge::Least => {
            let numbers = replies.iter().map(|(_, reply)| int(reply)).collect::<Option<Vec<_>>>()?;
            numbers.into_iter().min().map(Reply::Int)
        }
        Merge::LeastOfEach => {
            let mut least: Option<Vec<i64>> = None;
            for (_, reply) in replies {
                let Reply::Array(items) = reply else { return None };
                let items = items.iter().map(int).collect::<Option<Vec<_>>>()?;
                least = Some(match least {
                    None => items,
                    Some(least) => least.into_iter().zip(items).map(|(a, b)| a.min(b)).collect(),
                });
            }
            least.map(|least| Reply::Array(least.into_iter().map(Reply::Int).collect()))
        }
        Merge::AllOk => replies.into_iter().next().map(|(_, reply)| reply),
    }
}

fn int(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Int(number) => Some(*number),
        _ => None,
    }
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Server, "the answers of a cluster's nodes do not fit together")
        .with_delivery(Delivery::MaybeExecuted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(numbers: &[i64]) -> Reply {
        Reply::Array(numbers.iter().copied().map(Reply::Int).collect())
    }

    #[test]
    fn elements_are_put_at_their_places() {
        let answers = vec![(vec![0, 2], Ok(ints(&[10, 12]))), (vec![1], Ok(ints(&[11])))];
        assert_eq!(put_together(answers, Assembly::Merged(Merge::Array), true).unwrap(), ints(&[10, 11, 12]));
    }

    #[test]
    fn numbers_are_summed_or_the_least_is_taken() {
        let answers = || vec![(Vec::new(), Ok(Reply::Int(3))), (Vec::new(), Ok(Reply::Int(2)))];
        assert_eq!(put_together(answers(), Assembly::Merged(Merge::Sum), true).unwrap(), Reply::Int(5));
        assert_eq!(put_together(answers(), Assembly::Merged(Merge::Least), true).unwrap(), Reply::Int(2));
        let arrays = vec![(Vec::new(), Ok(ints(&[1, 0]))), (Vec::new(), Ok(ints(&[0, 1])))];
        assert_eq!(put_together(arrays, Assembly::Merged(Merge::LeastOfEach), true).unwrap(), ints(&[0, 0]));
    }

    #[test]
    fn a_write_that_failed_in_part_may_have_been_executed_in_part() {
        let not_sent = || Err(Error::new(ErrorKind::Timeout, "late"));
        let mixed = vec![(vec![0], Ok(Reply::Int(1))), (vec![1], not_sent())];
        assert_eq!(
            put_together(mixed, Assembly::Merged(Merge::Sum), false).unwrap_err().delivery(),
            Delivery::MaybeExecuted
        );
        let none = vec![(vec![0], not_sent()), (vec![1], not_sent())];
        assert_eq!(put_together(none, Assembly::Merged(Merge::Sum), false).unwrap_err().delivery(), Delivery::NotSent);
    }
}
