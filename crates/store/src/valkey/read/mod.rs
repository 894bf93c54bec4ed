//! Readers ([`reader`]), statistics and pages of sensors ([`list`]).

mod list;
mod reader;

use std::{sync::Arc, time::Instant};

use redis::{Pipeline, Value};

pub(crate) use self::reader::ValkeyReader;
use super::{
    cluster::{Failure, Nodes},
    notify::Notifications,
    shared::Shared,
};
use crate::{StoreError, instruments::Operation};

/// The resources for reading, shared by the readers of a runtime.
#[derive(Debug, Clone)]
pub(super) struct ReadHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) notifications: Notifications,
}

impl ReadHandle {
    /// Executes commands that change nothing.
    async fn query(
        &self,
        slot: u16,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let start = Instant::now();
        let answer = match self.nodes.ensure_layout().await {
            Ok(()) => self.nodes.execute_retrying(slot, operation, pipeline).await,
            Err(failure) => Err(failure),
        };
        self.shared.time(Operation::Read, start);
        self.shared.availability.note(answer.as_ref().err().map(Failure::text));
        answer.map_err(|failure| StoreError::Unavailable(failure.text().to_owned()))
    }
}
