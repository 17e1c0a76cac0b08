//! Moves what a stream brings to whoever reads it, and keeps the stream alive meanwhile.

use std::pin::pin;

use futures::future::{Either, select};
use pillion::{Error, Result};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::watch;

use crate::changes::Lsn;
use crate::replication::{ChangeStream, Received};

/// Messages that are handed over together, in bytes; a single one may be larger.
const PORTION_LEN: usize = 256 << 10;
/// Portions that wait for the reader. The server waits when there are as many.
pub(super) const PORTIONS: usize = 2;

/// What is handed over at once.
pub(super) type Portion = Result<Vec<Received>>;

/// Moves messages until the stream fails or the reader goes.
pub(super) async fn pump(
    mut stream: ChangeStream,
    sender: Sender<Portion>,
    mut durable: watch::Receiver<Lsn>,
) {
    loop {
        let received = {
            match select(pin!(stream.next()), pin!(durable.changed())).await {
                Either::Left((received, _)) => Some(received),
                Either::Right((Ok(()), _)) => None,
                // The reader is gone.
                Either::Right((Err(_), _)) => return,
            }
        };
        let Some(received) = received else {
            let acknowledged = *durable.borrow_and_update();
            stream.acknowledge(acknowledged);
            continue;
        };
        let portion = received.and_then(|received| gathered(received, &mut stream));
        let is_last = portion.is_err();
        if hand_over(portion, &mut stream, &sender, &mut durable).await.is_err() || is_last {
            return;
        }
    }
}

/// A message and those that are there already.
fn gathered(first: Received, stream: &mut ChangeStream) -> Portion {
    let len_of = |received: &Received| match received {
        Received::Message { message, .. } => message.len(),
        Received::UpTo { .. } => 0,
    };
    let mut len = len_of(&first);
    let mut portion = vec![first];
    while len < PORTION_LEN {
        let Some(received) = stream.at_once()? else { break };
        len += len_of(&received);
        portion.push(received);
    }
    Ok(portion)
}

/// Waits for the reader to take a portion.
async fn hand_over(
    portion: Portion,
    stream: &mut ChangeStream,
    sender: &Sender<Portion>,
    durable: &mut watch::Receiver<Lsn>,
) -> std::result::Result<(), SendError<()>> {
    let mut reserving = pin!(sender.reserve());
    let permit = {
        let kept = pin!(kept(stream, durable));
        match select(&mut reserving, kept).await {
            Either::Left((permit, _)) => permit?,
            Either::Right((Some(error), reserving)) => {
                // What came before it is handed over first.
                let permit = reserving.await?;
                permit.send(portion);
                return sender.send(Err(error)).await.map_err(|_| SendError(()));
            }
            Either::Right((None, _)) => return Err(SendError(())),
        }
    };
    permit.send(portion);
    Ok(())
}

/// Keeps a stream alive that is not read. Ends with what ended it, or with `None` if the reader is gone.
async fn kept(stream: &mut ChangeStream, durable: &mut watch::Receiver<Lsn>) -> Option<Error> {
    loop {
        match select(pin!(stream.keep_alive()), pin!(durable.changed())).await {
            Either::Left((error, _)) => return Some(error),
            Either::Right((Ok(()), _)) => {}
            Either::Right((Err(_), _)) => return None,
        }
        let acknowledged = *durable.borrow_and_update();
        stream.acknowledge(acknowledged);
    }
}
