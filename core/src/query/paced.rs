//! A stream that lets other work have its turn where many steps in a row give nothing.

use std::task::Poll;

use futures::Stream;
use futures::stream::poll_fn;

/// Steps in a row without an item after which others have their turn.
const EMPTY_STEPS: usize = 16;

/// The items of steps, each of which may give none. Whoever polls the stream gets control back now and then, and can cancel.
pub(super) fn paced<T>(mut steps: impl Iterator<Item = Option<T>>) -> impl Stream<Item = T> {
    poll_fn(move |waits| {
        for _ in 0..EMPTY_STEPS {
            match steps.next() {
                None => return Poll::Ready(None),
                Some(Some(item)) => return Poll::Ready(Some(item)),
                Some(None) => {}
            }
        }
        waits.waker().wake_by_ref();
        Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn steps_without_items_end_a_poll_and_ask_for_the_next_one() {
        let taken = AtomicUsize::new(0);
        let steps = (0..2 * EMPTY_STEPS + 3).map(|step| {
            taken.fetch_add(1, Ordering::Relaxed);
            (step == 2 * EMPTY_STEPS + 1).then_some(step)
        });
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let mut stream = pin!(paced(steps));
        for polls in 1..3 {
            assert_eq!(stream.as_mut().poll_next(&mut context), Poll::Pending);
            assert_eq!(taken.load(Ordering::Relaxed), polls * EMPTY_STEPS);
            assert_eq!(wakes.0.load(Ordering::Relaxed), polls, "somebody must poll again");
        }
        assert_eq!(stream.as_mut().poll_next(&mut context), Poll::Ready(Some(2 * EMPTY_STEPS + 1)));
        assert_eq!(stream.as_mut().poll_next(&mut context), Poll::Ready(None));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    }
}
