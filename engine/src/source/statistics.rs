//! The few figures taken from librdkafka's statistics: which brokers are up, where the logs end.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use crate::ids::{Offset, Partition};

/// What one statistics report says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// At least one broker is connected.
    pub(super) connected: bool,
    /// The log ends of the partitions being read. As of the last fetch: a partition that is held up
    /// by back-pressure is not fetched, and its end stands still meanwhile.
    pub(super) ends: Vec<(Partition, Offset)>,
}

#[derive(Deserialize)]
struct Report<'a> {
    #[serde(borrow, default)]
    brokers: HashMap<Cow<'a, str>, BrokerReport<'a>>,
    #[serde(borrow, default)]
    topics: HashMap<Cow<'a, str>, TopicReport>,
}

#[derive(Deserialize)]
struct BrokerReport<'a> {
    #[serde(borrow)]
    state: Cow<'a, str>,
}

#[derive(Deserialize)]
struct TopicReport {
    partitions: HashMap<i32, PartitionReport>,
}

#[derive(Deserialize)]
struct PartitionReport {
    hi_offset: i64,
    fetch_state: FetchState,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum FetchState {
    Active,
    #[serde(other)]
    Other,
}

impl Statistics {
    /// Reads a report, of which only `topic` is of interest.
    pub(super) fn parse(json: &[u8], topic: &str) -> Result<Self, serde_json::Error> {
        let report: Report<'_> = serde_json::from_slice(json)?;
        let mut ends: Vec<_> = report
            .topics
            .get(topic)
            .into_iter()
            .flat_map(|topic| &topic.partitions)
            .filter(|(_, partition)| partition.fetch_state == FetchState::Active && partition.hi_offset >= 0)
            .map(|(number, partition)| (Partition(*number), Offset(partition.hi_offset)))
            .collect();
        ends.sort_unstable();
        Ok(Self { connected: report.brokers.values().any(|broker| broker.state == "UP"), ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_partitions_being_read() {
        let json = br#"{"name":"x","brokers":{"a/1":{"name":"a/1","state":"DOWN"},"b/2":{"state":"UP"}},
            "topics":{"t":{"topic":"t","partitions":{
                "1":{"partition":1,"fetch_state":"active","hi_offset":7},
                "0":{"partition":0,"fetch_state":"active","hi_offset":9},
                "2":{"partition":2,"fetch_state":"none","hi_offset":3},
                "3":{"partition":3,"fetch_state":"active","hi_offset":-1001},
                "-1":{"partition":-1,"fetch_state":"none","hi_offset":-1001}}},
              "u":{"partitions":{"0":{"fetch_state":"active","hi_offset":1}}}}}"#;
        let statistics = Statistics::parse(json, "t").expect("valid");
        assert!(statistics.connected);
        assert_eq!(statistics.ends, [(Partition(0), Offset(9)), (Partition(1), Offset(7))]);
    }

    #[test]
    fn a_report_without_brokers_is_not_connected() {
        let statistics =
            Statistics::parse(br#"{"brokers":{"a":{"state":"TRY_CONNECT"}}}"#, "t").expect("valid");
        assert_eq!(statistics, Statistics::default());
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        assert!(Statistics::parse(b"{", "t").is_err());
    }
}
