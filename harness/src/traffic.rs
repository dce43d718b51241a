//! Traffic as a dry run sees it: when each record is there, of which partition, and how long its
//! JSON is in an event. Nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use pelton::filter::{Filters, Matcher};
use pelton::ids::{Offset, Partition, Topic};
use pelton::payload::{Template, encoded_len};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::time::Nanos;
use rdkafka::message::Headers as _;
use serde::{Deserialize, Serialize};

use crate::explain::poller::Arrival;
use crate::load::Draw;
use crate::workload::recording::Recording;
use crate::workload::scenario::Workload;

/// All timestamps of our time have as many digits as this one.
const SOME_TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// Records in the order in which they are there.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Ascending in time.
    pub arrivals: Vec<Arrival>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Records that the filters leave out; they are not among the arrivals.
    pub filtered: u64,
    /// Records that were taken out as no event can hold them.
    pub oversized: u64,
}

/// The way from a producer to a poller, as far as it moves the time at which records are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// How long a producer waits for company, from the first record of a partition on.
    pub linger: Duration,
    /// A broker that answers fetches only so often, for all partitions; zero for one that answers at
    /// once, as Kafka does. The embedded one lets an empty fetch wait to its end.
    pub fetch_tick: Duration,
    /// What is left: network, broker, client.
    pub delay: Duration,
}

/// What a producer could put into its records: as it does, or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Habit {
    /// As it does.
    #[default]
    AsIs,
    /// No headers.
    NoHeaders,
    /// No keys. Partitions stay as they are.
    NoKeys,
    /// Values of half the size: compressed by the producer's own code, or in another format.
    HalfValues,
}

impl Habit {
    /// Those that are not as it does.
    pub const OTHERS: [Self; 3] = [Self::NoHeaders, Self::NoKeys, Self::HalfValues];

    /// For people, after "records ".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsIs => "as they are",
            Self::NoHeaders => "without headers",
            Self::NoKeys => "without keys",
            Self::HalfValues => "with values of half the size",
        }
    }

    fn apply<'r>(self, record: RecordRef<'r>) -> RecordRef<'r> {
        match self {
            Self::AsIs => record,
            Self::NoHeaders => RecordRef { headers: &[], ..record },
            Self::NoKeys => RecordRef { key: None, ..record },
            Self::HalfValues => {
                RecordRef { value: record.value.map(|value| &value[..value.len() / 2]), ..record }
            }
        }
    }
}

/// How much of a workload is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Records meant to be sent before this.
    pub until: Duration,
    /// So many at most, filtered ones included.
    pub records_max: u64,
    /// With what in them. Filters see the records as they are.
    pub habit: Habit,
}

impl Traffic {
    /// What a loader would send of `workload`, when it means to; `None` if the workload has no
    /// schedule.
    ///
    /// # Panics
    /// If a filter is no pattern: they are checked when a spec is resolved.
    #[must_use]
    pub fn made(workload: &Workload, filters: &[String], topic: &Topic, extent: Extent) -> Option<Self> {
        let mut draw = Draw::new(workload);
        let mut schedule = draw.begin()?;
        let mut matcher = matcher(filters);
        let templates: Vec<Template> = (0..workload.partitions)
            .map(|partition| Template::new(topic, Partition(i32::try_from(partition).unwrap_or(i32::MAX))))
            .collect();
        let mut next = vec![0_i64; templates.len()];
        let mut traffic = Self { partitions: workload.partitions, ..Self::default() };
        let backlog = draw.backlog();
        for number in 0..extent.records_max {
            // What waits at the beginning is followed by the schedule.
            let at = if number < backlog { Duration::ZERO } else { schedule.next_send() };
            if at >= extent.until {
                break;
            }
            let partition = draw.partition();
            let template = &templates[partition as usize];
            let offset = Offset(next[partition as usize]);
            next[partition as usize] += 1;
            let drawn = draw.record(partition);
            let headers: Vec<Header<'_>> = drawn
                .headers
                .iter()
                .flat_map(|headers| headers.iter())
                .map(|header| Header { name: header.key.as_bytes(), value: header.value })
                .collect();
            let record = RecordRef {
                partition: template.partition(),
                offset,
                timestamp_ms: SOME_TIMESTAMP_MS,
                timestamp_type: TimestampType::CreateTime,
                key: drawn.key,
                value: drawn.value,
                headers: &headers,
            };
            traffic.add(matcher.as_mut(), (topic, template, extent.habit), partition, record, at);
        }
        Some(traffic)
    }

    /// What a capture holds, by its timestamps; all at once as a `backlog`.
    ///
    /// # Panics
    /// If a filter is no pattern: they are checked when a spec is resolved.
    #[must_use]
    pub fn captured(recording: &Recording, filters: &[String], topic: &Topic, backlog: bool) -> Self {
        let partitions = recording.partitions();
        let mut matcher = matcher(filters);
        let templates: Vec<Template> =
            partitions.iter().map(|one| Template::new(topic, Partition(one.captured_as))).collect();
        let mut next = vec![0_usize; partitions.len()];
        let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
        let mut traffic = Self { partitions: count, ..Self::default() };
        for sending in recording.sendings() {
            let place = sending.partition as usize;
            let (partition, template) = (&partitions[place], &templates[place]);
            let recorded = &partition.records[next[place]];
            let offset = Offset(partition.first_offset.saturating_add(next[place] as i64));
            next[place] += 1;
            let (timestamp_ms, timestamp_type) = recorded.timestamp.unwrap_or((0, TimestampType::CreateTime));
            let record = RecordRef {
                partition: Partition(partition.captured_as),
                offset,
                timestamp_ms,
                timestamp_type,
                key: recorded.key,
                value: recorded.value,
                headers: recorded.headers,
            };
            let at = Duration::from_millis(if backlog { 0 } else { sending.at_ms });
            traffic.add(matcher.as_mut(), (topic, template, Habit::AsIs), sending.partition, record, at);
        }
        traffic
    }

    fn add(
        &mut self,
        matcher: Option<&mut Matcher>,
        (topic, template, habit): (&Topic, &Template, Habit),
        partition: u32,
        record: RecordRef<'_>,
        at: Duration,
    ) {
        if matcher.is_some_and(|matcher| !matcher.keeps(topic, &record)) {
            self.filtered += 1;
            return;
        }
        let record = habit.apply(record);
        self.arrivals.push(Arrival {
            at: Nanos::ZERO + at,
            born: Nanos::ZERO + at,
            partition,
            bytes: u32::try_from(encoded_len(template, &record)).unwrap_or(u32::MAX),
            key_bytes: u32::try_from(template.key().len()).unwrap_or(u32::MAX),
        });
    }

    /// The same traffic as a consumer gets to read it.
    #[must_use]
    pub fn through(mut self, way: &Way) -> Self {
        let linger = u64::try_from(way.linger.as_nanos()).unwrap_or(0);
        let tick = u64::try_from(way.fetch_tick.as_nanos()).unwrap_or(0);
        // When the producer's batch of each partition leaves: its linger begins with its first record.
        let mut leaves = vec![None; self.partitions as usize];
        for arrival in &mut self.arrivals {
            let leave: &mut Option<u64> = &mut leaves[arrival.partition as usize];
            let at = match *leave {
                Some(at) if arrival.born.0 < at => at,
                _ => *leave.insert(arrival.born.0 + linger),
            };
            let at = if tick > 0 { at.div_ceil(tick) * tick } else { at };
            arrival.at = Nanos(at) + way.delay;
        }
        self.arrivals.sort_by_key(|arrival| arrival.at);
        self
    }

    /// Takes out the records whose event alone would be larger than `payload_bytes_max`.
    pub fn take_oversized(&mut self, envelope_bytes: usize, payload_bytes_max: u32) {
        let before = self.arrivals.len();
        self.arrivals.retain(|arrival| {
            let alone = envelope_bytes + arrival.bytes as usize + arrival.key_bytes as usize;
            alone <= payload_bytes_max as usize
        });
        self.oversized += (before - self.arrivals.len()) as u64;
    }

    /// What each of `pollers` reads: as the engine assigns partitions, each to the poller that has
    /// the fewest. No more pollers than partitions.
    #[must_use]
    pub fn split(&self, pollers: usize) -> Vec<Vec<Arrival>> {
        let pollers = pollers.clamp(1, (self.partitions as usize).max(1));
        let mut split: Vec<Vec<Arrival>> = vec![Vec::with_capacity(self.arrivals.len() / pollers); pollers];
        for arrival in &self.arrivals {
            split[arrival.partition as usize % pollers].push(*arrival);
        }
        split
    }

    /// From the beginning to the last record.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.arrivals.last().map_or(Duration::ZERO, |last| last.at - Nanos::ZERO)
    }
}

fn matcher(filters: &[String]) -> Option<Matcher> {
    let patterns: Vec<&str> = filters.iter().map(String::as_str).collect();
    let filters = Filters::parse(&patterns).expect("patterns are checked when a spec is resolved");
    (!patterns.is_empty()).then(|| Matcher::new(Arc::new(filters)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::spec::Spec;

    fn made(text: &str, until_s: u64) -> Option<Traffic> {
        let scenario = Spec::from_toml(text, "test").unwrap().resolve().unwrap();
        let extent =
            Extent { until: Duration::from_secs(until_s), records_max: u64::MAX, habit: Habit::AsIs };
        Traffic::made(&scenario.workload, &scenario.mapping.filters, &Topic::new("orders"), extent)
    }

    #[test]
    fn made_traffic_follows_the_schedule_and_its_lengths_are_those_of_events() {
        let text = "arrival = \"constant(100/s)\"\npartitions = 4\nvalue_size = \"90B\"\nheaders = [\"a:3B\"]\n\
                    key = \"random(6B)\"";
        let traffic = made(text, 2).unwrap();
        assert_eq!(traffic.arrivals.len(), 200);
        assert_eq!(traffic.arrivals[150].at, Nanos::ZERO + Duration::from_millis(1_500));
        // 90 bytes are 120 of base64, 6 are 8.
        let first = &traffic.arrivals[0];
        let json = format!(
            r#","timestamp":1700000000000,"timestampType":"CREATE_TIME","key":"{}","value":"{}","headers":[{{"a":["#,
            "k".repeat(8),
            "v".repeat(120)
        );
        let least = r#"{"topic":"orders","partition":0,"offset":0"#.len() + json.len() + "0,0,0]}]}".len();
        assert!((least..=least + 10).contains(&(first.bytes as usize)), "{} and {least}", first.bytes);
    }

    #[test]
    fn records_with_less_in_them_are_shorter_and_come_as_before() {
        let text =
            "arrival = \"poisson(100/s)\"\nvalue_size = \"90B\"\nheaders = [\"a:3B\"]\nkey = \"random(6B)\"";
        let scenario = Spec::from_toml(text, "test").unwrap().resolve().unwrap();
        let made = |habit| {
            let extent = Extent { until: Duration::from_secs(5), records_max: u64::MAX, habit };
            Traffic::made(&scenario.workload, &[], &Topic::new("orders"), extent).unwrap().arrivals
        };
        let as_is = made(Habit::AsIs);
        // `"key":"` and `",`, and 8 bytes of base64; 45 bytes are 60 of base64.
        for (habit, less) in [(Habit::NoKeys, 8 + 9), (Habit::HalfValues, 60)] {
            let other = made(habit);
            for (one, other) in as_is.iter().zip(&other) {
                assert_eq!(*one, Arrival { bytes: other.bytes + less, ..*other }, "{habit:?}");
            }
        }
        let bare = made(Habit::NoHeaders);
        // `{"a":[` and `]}`, and three numbers of one to four characters with two commas.
        assert!(as_is.iter().zip(&bare).all(|(one, other)| (13..=22).contains(&(one.bytes - other.bytes))));
    }

    #[test]
    fn traffic_without_a_schedule_is_none() {
        assert!(made("", 2).is_none());
    }

    #[test]
    fn what_filters_leave_out_does_not_arrive() {
        let text = "arrival = \"constant(1k/s)\"\nfilters = ['{\"value\":{\"amount\":[{\"numeric\":[\"<\",100]}]}}']";
        let traffic = made(text, 2).unwrap();
        let kept = traffic.arrivals.len() as u64;
        assert_eq!(kept + traffic.filtered, 2_000);
        assert!(kept > 100 && kept < 500, "about one in nine: {kept}");
    }

    #[test]
    fn a_way_gathers_records_and_keeps_their_births() {
        let traffic = made("arrival = \"constant(1k/s)\"\npartitions = 1", 1).unwrap();
        let ms = Duration::from_millis;
        let way = Way { linger: ms(5), fetch_tick: ms(10), delay: ms(1) };
        let read = traffic.clone().through(&way);
        // Born at 0 to 4 ms, left at 5, fetched at 10, there at 11; those of 5 to 9 ms left at 10.
        let at: Vec<u64> = read.arrivals.iter().map(|arrival| arrival.at.0 / 1_000_000).collect();
        assert_eq!((at[0], at[4], at[9], at[10]), (11, 11, 11, 21));
        let born = |traffic: &Traffic| traffic.arrivals.iter().map(|one| one.born).collect::<Vec<_>>();
        assert_eq!(born(&read), born(&traffic));
        assert_eq!(traffic.clone().through(&Way::default()).arrivals, traffic.arrivals);
    }

    #[test]
    fn pollers_share_the_partitions_and_keep_their_order() {
        let traffic = made("arrival = \"poisson(1k/s)\"\npartitions = 5", 3).unwrap();
        for pollers in [1, 2, 5, 9] {
            let split = traffic.split(pollers);
            assert_eq!(split.len(), pollers.min(5));
            assert_eq!(split.iter().map(Vec::len).sum::<usize>(), traffic.arrivals.len());
            assert!(split.iter().all(|lane| lane.is_sorted_by_key(|arrival| arrival.at)));
        }
    }
}
