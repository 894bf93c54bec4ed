//! Commands to the node that serves a slot.

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use opentelemetry::metrics::Histogram;
use redis::{Pipeline, Value};
use tokio::{sync::Mutex, time::sleep};

use super::{
    super::{scripts, settings::ValkeySettings},
    connect::ConnectionRole,
    failure::Failure,
    pool::{Connection, Pool},
    slots::{self, Slots},
};

/// Between two attempts of a read.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The nodes as one runtime knows them.
///
/// Every failure to connect or to get a reply invalidates the slots: a failover looks like that from here. Nothing is
/// sent twice, unless the node rejected it before it began or the caller says that it changes nothing
/// ([`execute_retrying`](Self::execute_retrying)).
#[derive(Debug)]
pub(in crate::valkey) struct Nodes {
    settings: ValkeySettings,
    slots: Slots,
    pool: Pool,
    /// Held while the cluster is asked for its slots, so that one call asks for all.
    refreshing: Mutex<()>,
    pub(super) layout_verified: AtomicBool,
}

impl Nodes {
    pub(in crate::valkey) fn new(settings: ValkeySettings, duration: Histogram<f64>) -> Self {
        Self {
            slots: Slots::new(&settings),
            pool: Pool::new(duration),
            refreshing: Mutex::default(),
            layout_verified: AtomicBool::new(false),
            settings,
        }
    }

    pub(in crate::valkey) fn settings(&self) -> &ValkeySettings {
        &self.settings
    }

    /// The address of the node that serves a slot.
    pub(in crate::valkey) async fn route(&self, slot: u16) -> Result<String, Failure> {
        if let Some(address) = self.slots.get(slot) {
            return Ok(address);
        }
        let _one_at_a_time = self.refreshing.lock().await;
        // Another call may have asked while this one waited.
        if let Some(address) = self.slots.get(slot) {
            return Ok(address);
        }
        Box::pin(self.refresh_slots()).await?;
        self.slots.get(slot).ok_or_else(|| Failure::NotSent(format!("no node serves slot {slot}")))
    }

    pub(in crate::valkey) async fn connection(
        &self,
        address: &str,
        role: ConnectionRole,
    ) -> Result<Connection, Failure> {
        let connection = self.pool.connection(&self.settings, address, role).await;
        if connection.is_err() {
            self.invalidate_slots();
        }
        connection
    }

    /// Sends commands in one pipeline and returns a reply to each. After an error the outcome of all is unknown.
    pub(in crate::valkey) async fn execute(
        &self,
        connection: &Connection,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let replies = self.pool.execute(connection, operation, pipeline).await;
        if replies.is_err() {
            self.invalidate_slots();
        }
        replies
    }

    /// Executes commands that change nothing (or nothing more the second time) until they succeed or the timeout is
    /// over.
    pub(in crate::valkey) async fn execute_retrying(
        &self,
        slot: u16,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let deadline = Instant::now() + self.settings.timeout;
        loop {
            let failure = match self.execute_once(slot, operation, pipeline).await {
                Err(failure) if !matches!(failure, Failure::Denied(_) | Failure::Incompatible(_)) => failure,
                done => return done,
            };
            if Instant::now() >= deadline {
                return Err(failure);
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Executes commands without retrying them.
    pub(in crate::valkey) async fn execute_once(
        &self,
        slot: u16,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let address = self.route(slot).await?;
        match self.execute_on(&address, operation, pipeline).await {
            // The slot is being moved, and its keys are on the other node already.
            Err(Failure::Rejected { ask: Some(address), .. }) => {
                let replies = self.execute_on(&address, operation, &asking(pipeline)).await?;
                Ok(replies.into_iter().skip(1).step_by(2).collect())
            }
            done => done,
        }
    }

    /// Does what a rejection asks for, so that a retry may succeed.
    pub(in crate::valkey) async fn recover_from(&self, connection: &Connection, failure: &Failure) {
        let Failure::Rejected { load, moved, .. } = failure else { return };
        if *load {
            // If that fails, the retry reports it.
            let _ = self.execute(connection, "SCRIPT LOAD", &scripts::load()).await;
        }
        if *moved {
            self.invalidate_slots();
            if !self.settings.cluster {
                // Behind the one address another primary has taken over, for connections of every role.
                self.reset();
            }
        }
    }

    /// Connects again when a connection is next needed.
    pub(in crate::valkey) fn reset(&self) {
        self.pool.clear();
    }

    async fn execute_on(
        &self,
        address: &str,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let connection = self.connection(address, ConnectionRole::Read).await?;
        let values = self.execute(&connection, operation, pipeline).await?;
        let checked: Result<Vec<_>, _> = values.into_iter().map(Failure::check).collect();
        if let Err(failure) = &checked {
            self.recover_from(&connection, failure).await;
        }
        checked
    }

    fn invalidate_slots(&self) {
        if self.settings.cluster {
            self.slots.invalidate();
        }
    }

    async fn refresh_slots(&self) -> Result<(), Failure> {
        let Some(candidates) = self.slots.begin_refresh() else {
            return Err(Failure::NotSent("the slots of the cluster are not known".to_owned()));
        };
        let mut last = Failure::NotSent("no node of the cluster answers".to_owned());
        for address in candidates {
            match self.ask_for_slots(&address).await {
                Ok(ranges) => {
                    let nodes = self.slots.replace(ranges, &address, &self.settings.addresses);
                    self.pool.retain(&nodes);
                    return Ok(());
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn ask_for_slots(&self, address: &str) -> Result<slots::Ranges, Failure> {
        let connection = self.connection(address, ConnectionRole::Read).await?;
        let answer = self.execute(&connection, "CLUSTER SLOTS", &slots::command()).await?;
        slots::parse(answer, address)
    }
}

/// The same commands for the node that a slot is being moved to.
fn asking(pipeline: &Pipeline) -> Pipeline {
    let mut asking = redis::pipe();
    for command in pipeline.cmd_iter() {
        asking.cmd("ASKING").add_command(command.clone());
    }
    asking
}
