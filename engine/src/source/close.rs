//! The end of a client, which must not hang: not on records nobody will read, not on rebalances
//! nobody will answer, not on brokers that are gone.

use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::consumer::KafkaSource;
use super::context::{self, Context, Notice};
use super::rebalance::{Change, Origin};
use crate::time::Clock;

impl KafkaSource {
    /// Ends the client: once, by `close` or by dropping.
    pub(super) fn shut_down(&mut self, deadline: Duration) {
        if self.client.is_none() {
            return;
        }
        let clock = Clock::start();
        let end = clock.now() + deadline;
        self.settle(deadline / 2);
        let Some(client) = self.client.take() else { return };
        client.context().close();
        self.answer_what_is_left(&client);
        client.unsubscribe();
        while clock.now() < end && client.assignment().is_ok_and(|assignment| assignment.count() > 0) {
            client.poll(Duration::from_millis(10));
        }
        self.queues.clear();
        self.committer = None;
        // Ending waits for brokers, without limit. It gets a thread of its own, and is left to it
        // when time is up: the process is about to end anyway.
        let (done, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("pelton-close".to_owned()).spawn(move || {
            drop(client);
            // Nobody listens any more if time was up.
            let _ = done.send(());
        });
        let left = end.since(clock.now()).max(Duration::from_millis(100));
        if thread.is_err() || ended.recv_timeout(left).is_err() {
            tracing::warn!(
                ?deadline,
                "the Kafka client did not end in time and is abandoned; its group membership \
                           ends with its session"
            );
        }
    }

    /// Answers what was announced and never answered: the client does not go on without.
    fn answer_what_is_left(&mut self, client: &BaseConsumer<Context>) {
        for notice in client.context().take() {
            match notice {
                Notice::Assigned(partitions) => self.rebalances.record_assigned(partitions),
                Notice::Revoked { partitions, lost } => self.rebalances.record_revoked(partitions, lost),
                _ => {}
            }
        }
        while let Some((change, origin)) = self.rebalances.first() {
            if origin == Origin::Group {
                let (assigned, partitions) = match change {
                    Change::Assigned(partitions) => (true, partitions),
                    Change::Revoked { partitions, .. } => (false, partitions),
                };
                let list = self.list(partitions);
                if let Err(error) = context::answer(client, assigned, &list) {
                    tracing::debug!(%error, assigned, "last answer to a rebalance");
                }
            }
            self.rebalances.answered();
        }
    }
}
