//! When pollers are added and taken away.

use std::time::Duration;

/// Between which numbers, how often and by how much the number of pollers changes.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingRules {
    /// As many at the beginning, and never fewer. At least 1.
    pub pollers_min: u32,
    /// Never more.
    pub pollers_max: u32,
    /// Between two looks at the load.
    pub look_interval: Duration,
    /// From a look until what it decided is done. Nothing else is decided meanwhile.
    pub delay: Duration,
    /// One decision leads to so many times as many pollers at most. At least 2.
    pub growth_max: u32,
    /// The lag is to be gone within that, beside the records that arrive.
    pub catch_up: Duration,
    /// Pollers are taken away after so many looks in a row that asked for fewer; longer if that had
    /// to be taken back before.
    pub looks_to_shrink: u32,
}

impl ScalingRules {
    /// This engine's: lag is looked at every ten seconds, and met at once. Fewer pollers after a
    /// minute of less.
    #[must_use]
    pub const fn between(pollers_min: u32, pollers_max: u32) -> Self {
        Self {
            pollers_min,
            pollers_max,
            look_interval: Duration::from_secs(10),
            delay: Duration::ZERO,
            growth_max: 4,
            catch_up: Duration::from_secs(30),
            looks_to_shrink: 6,
        }
    }

    /// AWS's on-demand mode: one poller at first, the lag of all partitions looked at every minute,
    /// done within three minutes of that, no more pollers than partitions
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>). How many are added
    /// is not published: assumed are twice as many at most, enough to be rid of the lag in another
    /// three minutes, and fewer after five minutes of less.
    #[must_use]
    pub const fn aws_on_demand(partitions: u32) -> Self {
        Self {
            pollers_min: 1,
            pollers_max: if partitions == 0 { 1 } else { partitions },
            look_interval: Duration::from_secs(60),
            delay: Duration::from_secs(180),
            growth_max: 2,
            catch_up: Duration::from_secs(180),
            looks_to_shrink: 5,
        }
    }

    /// AWS's provisioned mode: published are three times the speed of on-demand mode and 16 times its
    /// capacity. Assumed are looks and delays of a third, and up to 16 times as many pollers in one
    /// step.
    #[must_use]
    pub const fn aws_provisioned(pollers_min: u32, pollers_max: u32) -> Self {
        Self {
            pollers_min,
            pollers_max,
            look_interval: Duration::from_secs(20),
            delay: Duration::from_secs(60),
            growth_max: 16,
            catch_up: Duration::from_secs(60),
            looks_to_shrink: 15,
        }
    }
}
