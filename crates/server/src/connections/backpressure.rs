use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::futures::OwnedNotified;

use super::account::Account;

/// Waits until an account may grow. Closing the largest connections bounds what open ones hold; this bounds what is taken
/// before the closed ones have given their memory back.
#[derive(Debug, Default)]
pub(super) struct Backpressure(Option<Pin<Box<OwnedNotified>>>);

impl Backpressure {
    pub(super) fn poll_may_grow(&mut self, account: &Account, cx: &mut Context<'_>) -> Poll<()> {
        while !account.may_grow() {
            // Created before the account is asked once more: a signal in between is not lost.
            let Some(within_budget) = &mut self.0 else {
                self.0 = Some(Box::pin(account.within_budget()));
                continue;
            };
            ready!(within_budget.as_mut().poll(cx));
            self.0 = None;
        }
        self.0 = None;
        Poll::Ready(())
    }
}
