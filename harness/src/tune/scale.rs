//! How AWS's pollers would follow the traffic: lag second by second while their number changes.
//!
//! AWS publishes when it looks and how long it takes, not what it decides; what is assumed here is named
//! [`Rules::assumed`]. The queue is a fluid one: records come and go in amounts, not one by one.

use serde::{Deserialize, Serialize};

use crate::traffic::Traffic;

/// When pollers are added and taken away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Which mode.
    pub name: String,
    /// Pollers at the beginning, and never fewer.
    pub pollers_min: usize,
    /// Never more; never more than partitions either.
    pub pollers_max: usize,
    /// Between two looks at the lag.
    pub look_s: u32,
    /// From a look until what it decided is done.
    pub delay_s: u32,
    /// By what a look multiplies or divides the pollers at most.
    pub step: f64,
    /// What is known of that, and what is assumed.
    pub assumed: String,
}

impl Rules {
    /// On-demand mode: one poller at first, lag looked at every minute, done within three.
    #[must_use]
    pub fn on_demand(partitions: usize) -> Self {
        Self {
            name: "on-demand".into(),
            pollers_min: 1,
            pollers_max: partitions,
            look_s: 60,
            delay_s: 180,
            step: 2.0,
            assumed: "documented: a look each minute, done within three minutes, no more pollers than partitions; \
                      assumed: one poller at first, doubled while the lag is more than a minute's work, halved \
                      while less than half of the pollers is used"
                .into(),
        }
    }

    /// Provisioned mode between two numbers of pollers.
    #[must_use]
    pub fn provisioned(pollers_min: usize, pollers_max: usize) -> Self {
        Self {
            name: "provisioned".into(),
            pollers_min,
            pollers_max,
            look_s: 20,
            delay_s: 60,
            step: 16.0,
            assumed: "documented: three times as fast as on-demand, and a capacity 16 times higher; assumed: looks \
                      and delays of a third, any number of pollers in one step"
                .into(),
        }
    }
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Records that wait at its end.
    pub lag_records: f64,
    /// Pollers in it.
    pub pollers: usize,
}

/// Follows `traffic` by `rules`, where a poller brings through `per_poller` records a second; until the
/// lag is gone, at most three times the traffic's time and ten minutes.
#[must_use]
pub fn follow(traffic: &Traffic, rules: &Rules, per_poller: f64) -> Vec<Second> {
    let mut arrivals: Vec<f64> = Vec::new();
    for arrival in &traffic.arrivals {
        let second = usize::try_from(arrival.born.0 / 1_000_000_000).unwrap_or(0);
        if arrivals.len() <= second {
            arrivals.resize(second + 1, 0.0);
        }
        arrivals[second] += 1.0;
    }
    let most = rules.pollers_max.min(traffic.partitions as usize).max(1);
    let least = rules.pollers_min.clamp(1, most);
    let (mut pollers, mut lag, mut used) = (least, 0.0_f64, 0.0_f64);
    let mut pending: Option<(usize, usize)> = None;
    let mut seconds = Vec::new();
    for second in 0..arrivals.len() * 3 + 600 {
        if second >= arrivals.len() && lag < 1.0 {
            break;
        }
        if let Some((_, wanted)) = pending.take_if(|(at, _)| *at <= second) {
            pollers = wanted;
        }
        let capacity = per_poller * pollers as f64;
        let there = lag + arrivals.get(second).copied().unwrap_or(0.0);
        let done = there.min(capacity);
        used += done / capacity.max(1e-9);
        lag = there - done;
        seconds.push(Second { lag_records: lag, pollers });
        if (second + 1).is_multiple_of(rules.look_s as usize) {
            let share = used / f64::from(rules.look_s);
            used = 0.0;
            let wanted = if lag > capacity * f64::from(rules.look_s) {
                scaled(pollers, rules.step)
            } else if share < 0.5 && lag < 1.0 {
                scaled(pollers, 0.5)
            } else {
                pollers
            }
            .clamp(least, most);
            if wanted != pollers && pending.is_none() {
                pending = Some((second + rules.delay_s as usize, wanted));
            }
        }
    }
    seconds
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand pollers")]
fn scaled(pollers: usize, by: f64) -> usize {
    (pollers as f64 * by).round() as usize
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::tests::traffic;
    use super::*;

    #[test]
    fn on_demand_catches_up_minutes_later() {
        let traffic = traffic("arrival = \"constant(400/s)\"\npartitions = 8", 600);
        let seconds = follow(&traffic, &Rules::on_demand(8), 100.0);
        // 100 of 400 a second with one poller: 18,000 wait after a minute, and more until help comes.
        assert!((17_900.0..18_100.0).contains(&seconds[59].lag_records), "{:?}", seconds[59]);
        assert_eq!(seconds[200].pollers, 1);
        assert_eq!(seconds[250].pollers, 2);
        let most = seconds.iter().map(|one| one.pollers).max();
        assert_eq!(most, Some(8));
        assert!(seconds.last().unwrap().lag_records < 1.0);
    }

    #[test]
    fn provisioned_pollers_that_suffice_never_lag() {
        let traffic = traffic("arrival = \"constant(400/s)\"\npartitions = 8", 120);
        let seconds = follow(&traffic, &Rules::provisioned(5, 8), 100.0);
        assert!(seconds.iter().all(|one| one.pollers == 5 && one.lag_records < 1.0));
        let few = follow(&traffic, &Rules::provisioned(1, 8), 100.0);
        assert!(few[100].pollers == 8, "{:?}", few[100]);
    }

    #[test]
    fn calm_traffic_gives_pollers_back() {
        let traffic = traffic("arrival = \"bursts(rate=100/s, burst=90000)\"\npartitions = 16", 1_200);
        let seconds = follow(&traffic, &Rules::on_demand(16), 100.0);
        let most = seconds.iter().map(|one| one.pollers).max().unwrap();
        assert!(most > 2 && seconds.len() <= 1_200 * 3 + 600);
    }
}
