//! What a commit says to be finished beyond its offset, kept by a real broker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::commit::metadata::{METADATA_BYTES_MAX, Place, encode};
use pelton::commit::{Finished, Span, metadata};
use pelton::ids::{Offset, Partition, Topic};
use pelton::source::consumer::KafkaSource;
use pelton::source::settings::KafkaSettings;
use pelton::source::{Commit, CommitMode, Source as _, SourceError, SourceEvent, Start};

use crate::support::broker::Broker;
use crate::support::{eventually, unique};

const P: Partition = Partition(0);

/// A member that was assigned the topic's one partition, and where that begins.
fn join(topic: &str, group: &str) -> (KafkaSource, Start) {
    let settings = KafkaSettings::new(Broker::shared().plaintext(), &Topic::new(topic), group);
    let mut source = KafkaSource::new(settings, Arc::new(|| {})).expect("a client");
    let mut starts = Vec::new();
    eventually("an assignment", || {
        let mut events = Vec::new();
        source.serve(&mut events);
        for event in events {
            match event {
                SourceEvent::Assigned(_) => source.assign(&[(P, 0)], &mut starts).expect("assigned"),
                SourceEvent::Revoked { partitions, .. } => source.release(&partitions).expect("released"),
                _ => {}
            }
        }
        !starts.is_empty()
    });
    (source, starts.remove(0))
}

/// Commits, again while the group is not yet ready for it.
fn commit(source: &mut KafkaSource, commit: &Commit) -> Result<(), SourceError> {
    let result = Mutex::new(Ok(()));
    eventually("an answer", || {
        source.serve(&mut Vec::new());
        let answer = source.commit(std::slice::from_ref(commit), CommitMode::Sync);
        let again = matches!(answer, Err(SourceError::Commit { .. }));
        *result.lock().expect("one thread") = answer;
        !again
    });
    result.into_inner().expect("one thread")
}

#[test]
fn what_is_finished_beyond_the_committed_offset_outlives_the_group_s_restart() {
    let name = Broker::shared().topic("metadata", 1);
    let (topic, group) = (Topic::new(&name), unique("group"));
    let (mut source, start) = join(&name, &group);
    assert_eq!((start.committed, start.metadata.as_str()), (None, ""));
    let place = Place { topic: &topic, partition: P, committed: Offset(1_000) };
    // More than fits, so that the text is as long as it gets.
    let spans = (0..5_000).map(|at| Span { first: Offset(1_001 + 2 * at), last: Offset(1_001 + 2 * at) });
    let mut text = String::new();
    let left = encode(place, spans.clone(), METADATA_BYTES_MAX, &mut text);
    assert!(left.spans > 0 && text.len() > METADATA_BYTES_MAX - 4);
    let whole = Commit { partition: P, offset: Offset(1_000), metadata: text.clone() };
    assert_eq!(commit(&mut source, &whole), Ok(()));
    source.close(Duration::from_secs(10));

    let (mut source, start) = join(&name, &group);
    assert_eq!((start.offset, start.committed), (Offset(1_000), Some(Offset(1_000))));
    assert_eq!(start.metadata, text);
    let finished: Finished = metadata::decode(&start.metadata, place).expect("its own");
    assert!(finished.spans().eq(spans.take(5_000 - left.spans as usize)));

    // One byte more than the broker takes: it says why, and the offset stays.
    let longer = Commit { partition: P, offset: Offset(1_001), metadata: "x".repeat(METADATA_BYTES_MAX + 1) };
    let refused = commit(&mut source, &longer);
    assert!(matches!(refused, Err(SourceError::MetadataTooLong { .. })), "{refused:?}");
    assert_eq!(commit(&mut source, &Commit::plain(P, Offset(1_002))), Ok(()));
    source.close(Duration::from_secs(10));
    let (source, start) = join(&name, &group);
    assert_eq!((start.offset, start.metadata.as_str()), (Offset(1_002), ""));
    source.close(Duration::from_secs(10));
}
