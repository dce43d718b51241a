//! What most tests need: a filled topic, a function with its ledger, a group.

use std::sync::Arc;

use crate::support::client;
use crate::support::content::Content;
use crate::support::engine::Settings;
use crate::support::fault::Law;
use crate::support::function::Function;
use crate::support::ledger::{Ledger, Progress};
use crate::support::{eventually, unique};

/// A topic with its function and its group.
pub(crate) struct Stage {
    pub(crate) bootstrap_servers: String,
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) partitions: i32,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) function: Function,
}

impl Stage {
    /// For a topic that exists already.
    pub(crate) fn new(
        bootstrap_servers: &str,
        topic: String,
        partitions: i32,
        content: Content,
        law: Law,
    ) -> Self {
        let ledger = Arc::new(Ledger::new(&topic, content));
        Self::with_ledger(bootstrap_servers, topic, partitions, ledger, law)
    }

    /// With a ledger of one's own.
    pub(crate) fn with_ledger(
        bootstrap_servers: &str,
        topic: String,
        partitions: i32,
        ledger: Arc<Ledger>,
        law: Law,
    ) -> Self {
        let function = Function::start(&ledger, law);
        let bootstrap_servers = bootstrap_servers.to_owned();
        Self { bootstrap_servers, topic, group: unique("group"), partitions, ledger, function }
    }

    /// Appends ordinals up to `records` to each partition.
    pub(crate) fn fill(&self, records: u64) {
        client::fill(&self.bootstrap_servers, &self.topic, self.ledger.content(), self.partitions, records);
    }

    /// A mapping from the topic to the function.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(&self.bootstrap_servers, &self.topic, &self.group, &self.function)
    }

    /// All partitions together.
    pub(crate) fn total(&self, records: u64) -> u64 {
        records * u64::try_from(self.partitions).expect("not negative")
    }

    /// Waits until this many records of all partitions together are acknowledged.
    pub(crate) fn reach(&self, acknowledged: u64) {
        self.ledger.reach(&format!("{acknowledged} records"), |p| p.acknowledged >= acknowledged);
    }

    /// What the group has committed, per partition.
    pub(crate) fn committed(&self) -> Vec<Option<i64>> {
        client::committed(&self.bootstrap_servers, &self.group, &self.topic, self.partitions)
    }

    /// The audit over `records` per partition, and that all of it is committed.
    pub(crate) fn audit(&self, records: u64) -> Progress {
        let progress = self.ledger.audit(self.partitions, records);
        let expected = i64::try_from(records).expect("few enough");
        assert_eq!(self.committed(), vec![Some(expected); usize::try_from(self.partitions).expect("few")]);
        progress
    }

    /// That no commit has passed a record that is not done. Returns how many are done and not
    /// committed.
    pub(crate) fn assert_commits_are_behind(&self) -> u64 {
        // Committed first: what is acknowledged meanwhile only moves the bound up.
        let mut uncommitted = 0;
        for (partition, committed) in (0..).zip(self.committed()) {
            let frontier = self.ledger.frontier(partition);
            let committed = u64::try_from(committed.unwrap_or(0)).expect("not negative");
            assert!(
                committed <= frontier,
                "partition {partition}: committed {committed}, done only up to {frontier}"
            );
            uncommitted += frontier - committed;
        }
        uncommitted
    }

    /// Waits until the group has committed something: its member is back.
    pub(crate) fn commits_again(&self) {
        let before = self.committed();
        eventually("a commit", || self.committed() != before);
    }
}
