use std::{sync::Arc, time::Instant};

use redis::{Pipeline, Value};

use super::super::{
    cluster::{Failure, Nodes},
    notify::Notifications,
    shared::Shared,
};
use crate::{StoreError, instruments::Operation};

/// The resources for reading, shared by the readers of a runtime.
#[derive(Debug, Clone)]
pub(in crate::valkey) struct ReadHandle {
    pub(in crate::valkey) shared: Arc<Shared>,
    pub(in crate::valkey) nodes: Arc<Nodes>,
    pub(in crate::valkey) notifications: Notifications,
}

impl ReadHandle {
    /// Executes commands that change nothing.
    pub(super) async fn query(
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
