//! The bare consumer: the client that the engine uses, and nothing behind it.

use crossbeam::sync::Parker;
use pelton::source::consumer::KafkaSource;
use pelton::source::queue::KafkaQueue;
use pelton::source::{RecordQueue, Source, SourceError, SourceEvent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::subject::KafkaFeed;

/// Records in one read: what the engine asks for.
const READ_RECORDS: usize = 1_000;
/// How long to sleep when nothing wakes it.
const NAP: Duration = Duration::from_millis(100);

/// A record as the client hands it over.
pub(crate) type Fetched = <KafkaQueue as RecordQueue>::Record;

/// Reads until told to stop: reads arrays of records, shows them to `seen` and destroys them,
/// commits nothing.
pub(crate) fn consume(
    feed: &KafkaFeed,
    queues: usize,
    prefetch_bytes: usize,
    mut seen: impl FnMut(&[Fetched]),
    stop: &AtomicBool,
) -> Result<(), SourceError> {
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    let mut source =
        KafkaSource::new(feed.settings(queues, prefetch_bytes), Arc::new(move || unparker.unpark()))?;
    let mut events = Vec::new();
    let (mut starts, mut reached) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        source.serve(&mut events);
        for event in events.drain(..) {
            match event {
                SourceEvent::Assigned(partitions) => {
                    let routes: Vec<_> =
                        partitions.iter().enumerate().map(|(at, one)| (*one, at % queues)).collect();
                    source.assign(&routes, &mut starts)?;
                }
                SourceEvent::Revoked { partitions, .. } => source.release(&partitions)?,
                SourceEvent::Fatal(error) => return Err(error),
                _ => {}
            }
        }
        let mut read = 0;
        for queue in 0..queues {
            let queue = source.queue(queue);
            let taken = queue.read(READ_RECORDS);
            seen(queue.pending());
            queue.advance(taken);
            queue.take_reached(&mut reached);
            reached.clear();
            read += taken;
        }
        if read == 0 {
            parker.park_timeout(NAP);
        }
    }
    source.close(Duration::from_secs(5));
    Ok(())
}
