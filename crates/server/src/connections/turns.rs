//! The order in which busy connections of one thread continue.

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

/// The connections that have used up their turn, in the order in which they get the next one.
///
/// Between two of these turns all other connections run, whatever the number of busy ones: a caller whose calls are short
/// waits for one turn of a busy connection, not for one of each.
#[derive(Debug, Clone)]
pub(crate) struct Turns(mpsc::UnboundedSender<oneshot::Sender<()>>);

/// Completes when a connection that has used up its turn gets the next one.
pub(super) type NextTurn = oneshot::Receiver<()>;

impl Turns {
    /// Returns the queue and what has to run in a task of the thread: it gives the turns.
    pub(crate) fn new() -> (Self, impl Future<Output = ()>) {
        let (queue, mut waiting) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
        let give = async move {
            while let Some(next) = waiting.recv().await {
                if next.send(()).is_ok() {
                    // Tokio resumes a task that yields after it has looked for I/O, behind the tasks that this wakes.
                    yield_now().await;
                }
            }
        };
        (Self(queue), give)
    }

    /// Queues a connection.
    pub(super) fn next(&self) -> NextTurn {
        let (give, next) = oneshot::channel();
        // An error means that the thread is ending; the connection then continues at once.
        let _ = self.0.send(give);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Ran {
        Busy(usize),
        Other,
    }

    #[tokio::test]
    async fn other_tasks_run_between_turns_of_busy_connections() {
        let (turns, give) = Turns::new();
        tokio::spawn(give);
        let ran = Arc::new(Mutex::new(Vec::new()));
        let others = tokio::spawn({
            let ran = Arc::clone(&ran);
            async move {
                loop {
                    ran.lock().push(Ran::Other);
                    yield_now().await;
                }
            }
        });
        let busy = (0..3).map(|connection| {
            let (turns, ran) = (turns.clone(), Arc::clone(&ran));
            tokio::spawn(async move {
                for _ in 0..5 {
                    turns.next().await.unwrap();
                    ran.lock().push(Ran::Busy(connection));
                }
            })
        });
        futures_util::future::join_all(busy).await;
        others.abort();
        let ran = ran.lock();
        assert!(!ran.windows(2).any(|two| two.iter().all(|ran| *ran != Ran::Other)), "{ran:?}");
        let order: Vec<_> = ran.iter().filter(|ran| **ran != Ran::Other).copied().collect();
        assert_eq!(order, [0, 1, 2].map(Ran::Busy).repeat(5));
    }

    #[tokio::test]
    async fn connection_that_has_ended_takes_no_turn() {
        let (turns, give) = Turns::new();
        tokio::spawn(give);
        drop(turns.next());
        turns.next().await.unwrap();
    }

    #[tokio::test]
    async fn connection_continues_when_its_thread_ends() {
        let (turns, give) = Turns::new();
        drop(give);
        assert!(turns.next().await.is_err());
    }
}
