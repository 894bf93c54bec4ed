use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::futures::OwnedNotified;

use super::account::Account;

/// Waits until an account may grow. Closing the largest connections bounds the memory of the open ones; this bounds the
/// memory that open connections take before closed ones have freed theirs.
#[derive(Debug, Default)]
pub(super) struct Backpressure(Option<Pin<Box<OwnedNotified>>>);

impl Backpressure {
    pub(super) fn poll_may_grow(&mut self, account: &Account, cx: &mut Context<'_>) -> Poll<()> {
        while !account.may_grow() {
            // Created before the account is checked again, so that a notification in between is not lost.
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
