//! How the number of pollers would follow the traffic, and what waits meanwhile: record by record, by
//! the engine's own scaler, batch policy and delivery.
//!
//! AWS publishes when it looks at the lag and how long it takes, not what it decides; what is assumed
//! of it is named in [`Mode::assumed`].

use std::time::Duration;

use pelton::batch::{BatchLimits, FlushCause};
use pelton::ids::Partition;
use pelton::scale::{Load, Scaler, ScalingRules, Spread, surplus};
use pelton::time::Nanos;
use serde::{Deserialize, Serialize};

use super::cost::INVOCATIONS_PER_EVENT_POLLER;
use super::model::Function;
use super::sim::Tally;
use crate::explain::poller::{Arrival, Poller};
use crate::traffic::Traffic;

/// Who scales, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// For people.
    pub name: &'static str,
    /// Between which numbers, how often, by how much.
    pub rules: ScalingRules,
    /// Invocations that one poller by these rules may have under way.
    pub invocations_per_poller: usize,
    /// Invocations that the function allows at the same time.
    pub invocations_max: usize,
    /// What is known of it, and what is assumed.
    pub assumed: &'static str,
}

impl Mode {
    /// AWS's on-demand mode.
    #[must_use]
    pub fn on_demand(partitions: u32) -> Self {
        Self {
            name: "AWS on-demand",
            rules: ScalingRules::aws_on_demand(partitions),
            invocations_per_poller: INVOCATIONS_PER_EVENT_POLLER,
            invocations_max: usize::MAX,
            assumed: "documented: a look each minute, done within three minutes, no more pollers than partitions; \
                      assumed: one poller at first, at most twice as many in a step, as many as are rid of the lag in \
                      three minutes, fewer after five minutes of less",
        }
    }

    /// AWS's provisioned mode between two numbers of pollers.
    #[must_use]
    pub const fn provisioned(pollers_min: u32, pollers_max: u32) -> Self {
        Self {
            name: "AWS provisioned",
            rules: ScalingRules::aws_provisioned(pollers_min, pollers_max),
            invocations_per_poller: INVOCATIONS_PER_EVENT_POLLER,
            invocations_max: usize::MAX,
            assumed: "documented: three times as fast as on-demand, and a capacity 16 times higher; assumed: looks and \
                      delays of a third, up to 16 times as many pollers in one step",
        }
    }

    /// This engine, between one poller and so many.
    #[must_use]
    pub const fn pelton(pollers_max: u32) -> Self {
        Self {
            name: "Pelton",
            rules: ScalingRules::between(1, pollers_max),
            invocations_per_poller: 1,
            invocations_max: usize::MAX,
            assumed: "a look every ten seconds, done at once; fewer pollers after a minute of less",
        }
    }
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Records that wait at its end, those of open batches and of batches under way included.
    pub lag_records: u64,
    /// Pollers in it.
    pub pollers: u32,
}

/// What came of scaling.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Second by second, until the lag was gone, or was given up.
    pub seconds: Vec<Second>,
    /// Invocations, ages, and the rest.
    pub tally: Tally,
    /// Pollers, averaged over time.
    pub pollers_mean: f64,
}

const SECOND: Duration = Duration::from_secs(1);
/// What waits is followed for so many times the traffic's time,
const FOLLOWED_MAX: usize = 3;
/// and so much longer.
const FOLLOWED_LONGER_S: usize = 600;

/// Follows `traffic` by `mode`.
#[must_use]
pub fn follow(
    traffic: &Traffic,
    mode: &Mode,
    limits: &BatchLimits,
    envelope_bytes: usize,
    function: &Function,
) -> Followed {
    let mut scaler = Scaler::new(mode.rules.clone(), Nanos::ZERO);
    let mut fleet = Fleet::new(traffic, mode, limits, envelope_bytes, function);
    fleet.scale(scaler.pollers(), Nanos::ZERO);
    let span_s = traffic.span().as_secs_f64().ceil() as usize;
    let (mut seconds, mut fed) = (Vec::new(), 0);
    for second in 0..span_s * FOLLOWED_MAX + FOLLOWED_LONGER_S {
        let until = Nanos::ZERO + SECOND * (second as u32 + 1);
        let from = fed;
        fed += traffic.arrivals[from..].partition_point(|arrival| arrival.at < until);
        fleet.run(&traffic.arrivals[from..fed], until);
        seconds.push(Second { lag_records: fleet.lag(), pollers: scaler.pollers() });
        if fed == traffic.arrivals.len() && fleet.lag() == 0 {
            break;
        }
        if let Some(pollers) = scaler.turn(until, || fleet.load(until)) {
            fleet.scale(pollers, until);
        }
    }
    let pollers: u64 = seconds.iter().map(|second| u64::from(second.pollers)).sum();
    let pollers_mean = pollers as f64 / seconds.len().max(1) as f64;
    Followed { pollers_mean, tally: fleet.end(), seconds }
}

/// All pollers, and who reads which partition.
struct Fleet<'f> {
    mode: &'f Mode,
    limits: &'f BatchLimits,
    envelope_bytes: usize,
    function: &'f Function,
    members: Vec<Member<'f>>,
    /// By partition.
    routes: Vec<(Partition, usize)>,
    /// By partition, when its poller may read it: not while one before has records of it under way.
    readable_at: Vec<Nanos>,
    tally: Tally,
    /// Records whose answer comes in that second.
    done_in: Vec<u64>,
    arrived: u64,
    seconds: usize,
    /// Since the beginning; time is added up at a look.
    totals: Totals,
    /// As of the last look.
    last: Totals,
}

/// What counts from look to look.
#[derive(Clone, Copy, Default)]
struct Totals {
    done: u64,
    room: u64,
    busy: Duration,
    attempts: u64,
    throttled: u64,
}

struct Member<'f> {
    poller: Poller<'f>,
    function: Function,
    /// There, and not read from `read` on.
    queue: Vec<Arrival>,
    read: usize,
    /// What is not read may not ascend in time.
    is_mixed: bool,
}

impl<'f> Fleet<'f> {
    fn new(
        traffic: &Traffic,
        mode: &'f Mode,
        limits: &'f BatchLimits,
        envelope_bytes: usize,
        function: &'f Function,
    ) -> Self {
        let partitions = i32::try_from(traffic.partitions.max(1)).unwrap_or(i32::MAX);
        Self {
            mode,
            limits,
            envelope_bytes,
            function,
            members: Vec::new(),
            // Nobody's yet.
            routes: (0..partitions).map(|partition| (Partition(partition), usize::MAX)).collect(),
            readable_at: vec![Nanos::ZERO; partitions as usize],
            tally: Tally::new(),
            done_in: Vec::new(),
            arrived: 0,
            seconds: 0,
            totals: Totals::default(),
            last: Totals::default(),
        }
    }

    /// Goes on over a second, at whose end is `until`, in which `arrivals` come.
    fn run(&mut self, arrivals: &[Arrival], until: Nanos) {
        for arrival in arrivals {
            self.give(*arrival);
        }
        self.arrived += arrivals.len() as u64;
        for member in &mut self.members {
            member.settle();
            let (tally, done_in) = (&mut self.tally, &mut self.done_in);
            let Totals { attempts, throttled, room, .. } = &mut self.totals;
            let batch_size = self.limits.batch_size;
            let (function, before) = (&mut member.function, member.poller.poll().oversized);
            let tally = std::cell::RefCell::new(tally);
            member.read += member.poller.run(
                &member.queue[member.read..],
                until,
                |records, bytes| {
                    let invocation = tally.borrow_mut().invoked(function, records, bytes);
                    *attempts += u64::from(invocation.attempts);
                    *throttled += u64::from(invocation.throttled);
                    invocation.took
                },
                |sent, records| {
                    let tally = &mut *tally.borrow_mut();
                    tally.sent(sent, records, Nanos::ZERO);
                    let is_full = sent.cause != FlushCause::Window;
                    *room += u64::from(if is_full { sent.records } else { batch_size });
                    let second = usize::try_from(sent.done_at.0 / 1_000_000_000).unwrap_or(usize::MAX);
                    if done_in.len() <= second {
                        done_in.resize(second + 1, 0);
                    }
                    done_in[second] += u64::from(sent.records);
                },
            );
            let oversized = member.poller.poll().oversized - before;
            self.totals.done += oversized;
            if member.read > member.queue.len() / 2 {
                member.queue.drain(..member.read);
                member.read = 0;
            }
        }
        self.totals.done += self.done_in.get(self.seconds).copied().unwrap_or(0);
        self.seconds += 1;
    }

    /// To whoever reads its partition, once that may be read.
    fn give(&mut self, mut arrival: Arrival) {
        let place = arrival.partition as usize;
        arrival.at = arrival.at.max(self.readable_at[place]);
        let (_, member) = self.routes[place];
        let Member { queue, is_mixed, .. } = &mut self.members[member];
        *is_mixed |= queue.last().is_some_and(|last| last.at > arrival.at);
        queue.push(arrival);
    }

    fn lag(&self) -> u64 {
        self.arrived - self.totals.done
    }

    /// Since the last look.
    fn load(&mut self, now: Nanos) -> Load {
        let busy = self.members.iter().map(|member| {
            let to_come = member.poller.busy_until().map_or(Duration::ZERO, |until| until.since(now));
            member.poller.poll().busy.saturating_sub(to_come)
        });
        // A poller by these rules is busy while all of its invocations are.
        self.totals.busy = busy.sum::<Duration>() / self.mode.invocations_per_poller as u32;
        let totals = self.totals;
        let last = std::mem::replace(&mut self.last, totals);
        let open: u64 = self.members.iter().map(|member| u64::from(member.poller.open_records())).sum();
        Load {
            lag_records: self.lag(),
            open_records: open,
            done_records: totals.done - last.done,
            room_records: totals.room - last.room,
            busy: totals.busy.saturating_sub(last.busy),
            attempts: totals.attempts - last.attempts,
            throttled: totals.throttled - last.throttled,
        }
    }

    /// From `now` on there are so many pollers.
    fn scale(&mut self, pollers: u32, now: Nanos) {
        let most = self.routes.len().min(self.mode.invocations_max.max(1));
        let wanted = (pollers as usize * self.mode.invocations_per_poller).clamp(1, most);
        while self.members.len() < wanted {
            self.members.push(Member {
                poller: Poller::new(self.limits, self.envelope_bytes),
                function: self.function.of_poller(self.members.len()),
                queue: Vec::new(),
                read: 0,
                is_mixed: false,
            });
        }
        let moved = surplus(&self.routes, wanted);
        if moved.is_empty() {
            return;
        }
        let mut is_moved = vec![false; self.routes.len()];
        for partition in &moved {
            is_moved[partition.0 as usize] = true;
        }
        let leaving = |arrival: &Arrival| is_moved[arrival.partition as usize];
        let mut arrivals = Vec::new();
        for (number, member) in self.members.iter_mut().enumerate() {
            let mut loses = false;
            for (partition, _) in self.routes.iter().filter(|(_, of)| *of == number) {
                let place = partition.0 as usize;
                if is_moved[place] {
                    loses = true;
                    // What is under way must be answered first.
                    let from = member.poller.busy_until().unwrap_or(now).max(now);
                    self.readable_at[place] = self.readable_at[place].max(from);
                }
            }
            if loses {
                arrivals.append(&mut member.lose(leaving));
            }
        }
        let mut load = vec![0_usize; wanted];
        for (partition, of) in &self.routes {
            if !is_moved[partition.0 as usize] {
                load[*of] += 1;
            }
        }
        let mut spread = Spread::over(load);
        for partition in moved {
            self.routes[partition.0 as usize].1 = spread.lightest();
        }
        for arrival in arrivals {
            self.give(arrival);
        }
    }

    fn end(mut self) -> Tally {
        for member in &self.members {
            let poll = member.poller.poll();
            self.tally.oversized += poll.oversized;
            self.tally.ended_at = self.tally.ended_at.max(poll.ended_at);
        }
        self.tally
    }
}

impl Member<'_> {
    /// Takes away what it has not sent of some partitions.
    fn lose(&mut self, leaving: impl Fn(&Arrival) -> bool) -> Vec<Arrival> {
        let mut unread = self.poller.give_back();
        unread.extend_from_slice(&self.queue[self.read..]);
        self.read = 0;
        let (gone, kept) = unread.into_iter().partition(leaving);
        self.queue = kept;
        gone
    }

    /// Puts in order what came with other partitions, each of which is in order.
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_mixed) {
            self.queue[self.read..].sort_by_key(|arrival| arrival.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use pelton::invoke::law::{Latency, Law};
    use proptest::prelude::*;

    use super::super::evaluate::tests::traffic;
    use super::super::sim::simulate_exactly;
    use super::*;

    const ENVELOPE: usize = 100;

    /// One that brings 100 records a second through by each invocation that may run at once.
    fn slow() -> (BatchLimits, Function) {
        let limits = BatchLimits { batch_size: 10, window: Duration::ZERO, ..BatchLimits::default() };
        let latency = Latency::Fixed(Duration::from_millis(100));
        (limits, Function::new(&Law { latency, ..Law::default() }))
    }

    #[test]
    fn on_demand_catches_up_minutes_later() {
        let traffic = traffic("arrival = \"constant(2k/s)\"\npartitions = 40", 900);
        let (limits, function) = slow();
        let followed = follow(&traffic, &Mode::on_demand(40), &limits, ENVELOPE, &function);
        let seconds = &followed.seconds;
        // 500 of 2,000 a second with one poller: 90,000 wait after a minute, and more until help comes.
        assert!((89_000..91_000).contains(&seconds[59].lag_records), "{:?}", seconds[59]);
        assert_eq!((seconds[239].pollers, seconds[240].pollers), (1, 2));
        assert!(seconds.iter().any(|one| one.pollers == 8), "all partitions have an invocation of their own");
        assert_eq!(seconds.last().unwrap().lag_records, 0);
        assert_eq!(followed.tally.records, traffic.arrivals.len() as u64);
    }

    #[test]
    fn provisioned_pollers_that_suffice_do_not_lag_and_too_few_soon_do_not() {
        let traffic = traffic("arrival = \"constant(2k/s)\"\npartitions = 40", 300);
        let (limits, function) = slow();
        let enough = follow(&traffic, &Mode::provisioned(8, 8), &limits, ENVELOPE, &function);
        assert!(enough.seconds.iter().all(|one| one.pollers == 8 && one.lag_records < 1_000));
        let few = follow(&traffic, &Mode::provisioned(1, 8), &limits, ENVELOPE, &function);
        assert!(few.seconds[79].pollers == 1 && few.seconds[80].pollers > 5, "{:?}", few.seconds[80]);
    }

    #[test]
    fn calm_traffic_gives_pollers_back() {
        let traffic =
            traffic("arrival = \"bursts(rate=200/s, burst=90000, base=100/s)\"\npartitions = 16", 600);
        let (limits, function) = slow();
        let followed = follow(&traffic, &Mode::pelton(16), &limits, ENVELOPE, &function);
        let most = followed.seconds.iter().map(|one| one.pollers).max().unwrap();
        assert!(most > 4, "{most}");
        let calm = followed.seconds.iter().skip_while(|one| one.pollers < most).any(|one| one.pollers <= 2);
        let pollers: Vec<u32> = followed.seconds.iter().step_by(10).map(|one| one.pollers).collect();
        assert!(calm, "{pollers:?}");
        assert!(followed.pollers_mean < f64::from(most));
    }

    #[test]
    fn a_number_that_does_not_change_is_what_the_simulator_says() {
        let traffic = traffic("arrival = \"poisson(500/s)\"\npartitions = 6", 30);
        let limits = BatchLimits::default();
        let latency = Latency::LogNormal { median: Duration::from_millis(40), sigma: 0.5 };
        let function = Function::new(&Law { latency, ..Law::default() });
        let mut mode = Mode::pelton(3);
        mode.rules = ScalingRules::between(3, 3);
        let followed = follow(&traffic, &mode, &limits, ENVELOPE, &function).tally;
        let exact = simulate_exactly(&traffic, 3, &limits, ENVELOPE, &function, Nanos::ZERO);
        assert_eq!(
            (followed.records, followed.batches, followed.causes, followed.payload_bytes, followed.ended_at),
            (exact.records, exact.batches, exact.causes, exact.payload_bytes, exact.ended_at)
        );
        assert_eq!(followed.ages(), exact.ages());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is moved, and however often, every record is delivered once.
        #[test]
        fn every_record_is_delivered_once_however_pollers_change(
            rate in 50_u32..800,
            partitions in 1_u32..12,
            window_ms in 0_u64..1_500,
            latency_ms in 1_u64..900,
            looks_s in 1_u64..5,
            delay_s in 0_u64..4,
        ) {
            let text = format!("arrival = \"bursts(rate={rate}/s, burst=500)\"\npartitions = {partitions}");
            let traffic = traffic(&text, 20);
            let limits = BatchLimits {
                batch_size: 50, window: Duration::from_millis(window_ms), ..BatchLimits::default()
            };
            let latency = Latency::Fixed(Duration::from_millis(latency_ms));
            let function = Function::new(&Law { latency, ..Law::default() });
            let mut mode = Mode::pelton(partitions);
            mode.rules.look_interval = Duration::from_secs(looks_s);
            mode.rules.delay = Duration::from_secs(delay_s);
            mode.rules.looks_to_shrink = 2;
            let followed = follow(&traffic, &mode, &limits, ENVELOPE, &function);
            prop_assert_eq!(followed.tally.records, traffic.arrivals.len() as u64);
            prop_assert_eq!(followed.tally.age.count(), traffic.arrivals.len() as u64);
            prop_assert_eq!(followed.seconds.last().unwrap().lag_records, 0);
        }
    }
}
