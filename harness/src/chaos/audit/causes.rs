//! What was done to a mapping's engines, and which of it explains that a record comes again.

use std::ops::RangeInclusive;

/// After an engine wakes or the broker is back, so long may it take until the group has settled and
/// whoever was thrown out has heard of it. Session (6 s), rejoining, on a machine that is busy.
pub(super) const SETTLE_MS: u64 = 45_000;

/// Why a record may come again although the function was handed it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Its engine was killed; which kill.
    Kill(usize),
    /// Its engine was stopped.
    Stop,
    /// Its engine was frozen.
    Freeze,
    /// The broker was away.
    Outage,
    /// The partition moved to another member.
    Rebalance,
}

impl Cause {
    /// In words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Outage => "broker outage",
            Self::Rebalance => "rebalance",
        }
    }
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed(usize),
    Stopped,
}

#[derive(Clone, Debug, Default)]
struct Life {
    end: Option<(End, u64)>,
    freezes: Vec<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Time {
    from_ms: u64,
    until_ms: Option<u64>,
}

impl Time {
    /// Whether it, or what follows from it, falls into `times`.
    fn touches(&self, times: &RangeInclusive<u64>) -> bool {
        self.from_ms <= *times.end() && self.until_ms.is_none_or(|until| until + SETTLE_MS >= *times.start())
    }
}

/// Everything that was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Causes {
    engines: Vec<Life>,
    outages: Vec<Time>,
    moves: Vec<u64>,
    kills: usize,
}

impl Causes {
    /// An engine joins; engines are numbered from 0.
    pub(super) fn on_start(&mut self, engine: u16, now_ms: u64) {
        self.life(engine);
        self.moves.push(now_ms);
    }

    /// An engine was killed. Returns the kill's number.
    pub(super) fn on_kill(&mut self, engine: u16, now_ms: u64) -> usize {
        self.kills += 1;
        self.life(engine).end = Some((End::Killed(self.kills - 1), now_ms));
        self.moves.push(now_ms);
        self.kills - 1
    }

    /// An engine was told to stop.
    pub(super) fn on_stop(&mut self, engine: u16, now_ms: u64) {
        self.life(engine).end = Some((End::Stopped, now_ms));
        self.moves.push(now_ms);
    }

    /// An engine is frozen.
    pub(super) fn on_freeze(&mut self, engine: u16, now_ms: u64) {
        self.life(engine).freezes.push(Time { from_ms: now_ms, until_ms: None });
        self.moves.push(now_ms);
    }

    /// It wakes.
    pub(super) fn on_thaw(&mut self, engine: u16, now_ms: u64) {
        if let Some(freeze) = self.life(engine).freezes.last_mut() {
            freeze.until_ms = Some(now_ms);
        }
        self.moves.push(now_ms);
    }

    /// The broker goes away.
    pub(super) fn on_outage(&mut self, now_ms: u64) {
        self.outages.push(Time { from_ms: now_ms, until_ms: None });
    }

    /// It is back.
    pub(super) fn on_return(&mut self, now_ms: u64) {
        if let Some(outage) = self.outages.last_mut() {
            outage.until_ms = Some(now_ms);
        }
    }

    /// The topic has more partitions: the members divide them anew.
    pub(super) fn on_growth(&mut self, now_ms: u64) {
        self.moves.push(now_ms);
    }

    /// What explains that `by` delivers now what `from` was handed last at `at_ms`; and whether that
    /// was before the cause, as far as a cause has a moment.
    pub(super) fn cause(&self, from: u16, at_ms: u64, by: u16, now_ms: u64) -> Option<(Cause, bool)> {
        let since = at_ms..=now_ms;
        let life = self.engines.get(usize::from(from))?;
        if let Some((end, ended_ms)) = life.end
            && from != by
        {
            let cause = match end {
                End::Killed(kill) => Cause::Kill(kill),
                End::Stopped => Cause::Stop,
            };
            return Some((cause, at_ms <= ended_ms));
        }
        if let Some(freeze) = life.freezes.iter().find(|freeze| freeze.touches(&since)) {
            return Some((Cause::Freeze, at_ms <= freeze.from_ms));
        }
        if let Some(outage) = self.outages.iter().find(|outage| outage.touches(&since)) {
            return Some((Cause::Outage, at_ms <= outage.from_ms));
        }
        // A partition that changes hands while both live has moved; without a move it cannot.
        let moved = self.moves.iter().any(|moved| *moved <= now_ms && *moved + SETTLE_MS >= at_ms);
        (from != by && moved).then_some((Cause::Rebalance, true))
    }

    /// Whether `engine` may deliver now what is done and committed: it was cut off, and has not heard
    /// yet that others went on.
    pub(super) fn was_cut_off(&self, engine: u16, now_ms: u64) -> Option<Cause> {
        let life = self.engines.get(usize::from(engine))?;
        if let Some((End::Killed(kill), _)) = life.end {
            // Its last request was still in the socket.
            return Some(Cause::Kill(kill));
        }
        let now = now_ms..=now_ms;
        let freeze = life.freezes.iter().any(|freeze| freeze.touches(&now));
        let outage = self.outages.iter().any(|outage| outage.touches(&now));
        if freeze { Some(Cause::Freeze) } else { outage.then_some(Cause::Outage) }
    }

    /// Whether `engine` is dead by our hand, by which kill.
    pub(super) fn killed(&self, engine: u16) -> Option<usize> {
        match self.engines.get(usize::from(engine))?.end {
            Some((End::Killed(kill), _)) => Some(kill),
            _ => None,
        }
    }

    fn life(&mut self, engine: u16) -> &mut Life {
        let number = usize::from(engine);
        if number >= self.engines.len() {
            self.engines.resize(number + 1, Life::default());
        }
        &mut self.engines[number]
    }
}
