//! What goes wrong by itself, until the calm.

use pelton::source::{SourceError, SourceEvent, SourceState};

use super::universe::{Event, Order, Universe, note};

/// The events, and how many in a hundred are of each.
const KINDS: [(&str, u64); 14] = [
    ("crash", 14),
    ("stop", 10),
    ("start", 10),
    ("expired_session", 10),
    ("stall", 10),
    ("rebalance", 20),
    ("clock_jump", 6),
    ("retention", 3),
    ("compaction", 5),
    ("function_outage", 4),
    ("broker_outage", 4),
    ("fatal_error", 2),
    ("problem", 1),
    ("disconnect", 1),
];

impl Universe {
    fn kind(&mut self) -> &'static str {
        let mut left = self.random.between(0, KINDS.iter().map(|(_, weight)| weight).sum::<u64>() - 1);
        for (kind, weight) in KINDS {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        KINDS[0].0
    }

    /// Something goes wrong.
    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let mean_us = u64::try_from(self.faults.every.as_micros()).unwrap_or(0);
        let after = std::time::Duration::from_micros(self.random.between(1, 2 * mean_us));
        self.plan(after, Event::Fault);
        let kind = self.kind();
        let alive: Vec<usize> = (0..self.members.len()).filter(|&at| self.members[at].alive).collect();
        if self.happens(kind, &alive) {
            note!(self, "fault: {kind}");
            self.tally.fault(kind);
        }
    }

    /// Makes it happen, if it can.
    fn happens(&mut self, kind: &str, alive: &[usize]) -> bool {
        match kind {
            "rebalance" => {
                let shake = self.random.chance(700);
                self.want_rebalance(shake);
            }
            "clock_jump" => {
                let jump = i64::try_from(self.random.between(0, 60_000)).unwrap_or(0) - 30_000;
                self.wall_jump_ms = jump;
            }
            "retention" | "compaction" => self.delete(kind == "retention"),
            "function_outage" => self.function_out_until = self.now + self.random.ms(100, 3_000),
            "broker_outage" => self.broker_out_until = self.now + self.random.ms(100, 3_000),
            "start" if alive.len() < self.scenario.members_max => self.orders.push_back(Order::Start),
            _ if alive.is_empty() => return false,
            _ => {
                let member = self.random.pick(alive);
                return self.happens_to(kind, member);
            }
        }
        true
    }

    fn happens_to(&mut self, kind: &str, member: usize) -> bool {
        match kind {
            "crash" => self.orders.push_back(Order::Crash(member)),
            "stop" => self.orders.push_back(Order::Stop(member)),
            "expired_session" => self.expire(member),
            "stall" => {
                let lasts = self.random.ms(50, 9_000);
                let until = self.now + lasts;
                let stalled = &mut self.members[member];
                stalled.stalled_until = stalled.stalled_until.max(until);
                stalled.wake_at = stalled.wake_at.max(until);
                if lasts > self.scenario.session_timeout {
                    self.plan(self.scenario.session_timeout, Event::Expire(member));
                }
            }
            "fatal_error" => {
                self.members[member].broken = true;
                let error = SourceError::Client { action: "reading", reason: "simulated".to_owned() };
                self.say(member, std::time::Duration::ZERO, SourceEvent::Fatal(error));
            }
            "problem" => {
                let error = SourceError::Client { action: "fetching", reason: "simulated".to_owned() };
                self.say(member, std::time::Duration::ZERO, SourceEvent::Problem(error));
            }
            "disconnect" => {
                self.say(member, std::time::Duration::ZERO, SourceEvent::State(SourceState::Disconnected));
                let after = self.random.ms(10, 1_000);
                self.say(member, after, SourceEvent::State(SourceState::Connected));
            }
            _ => return false,
        }
        true
    }

    fn delete(&mut self, oldest: bool) {
        let partition = self.random.place(self.group.visible);
        let log = &mut self.logs[partition];
        let place = self.random.place(log.records.len());
        if oldest {
            log.retain_from(place);
        } else {
            for at in place..(place + 4).min(log.records.len()) {
                if self.random.chance(500) {
                    log.compact(at);
                }
            }
        }
    }

    /// The faults are over, and what they left is mended.
    pub(crate) fn become_calm(&mut self) {
        note!(self, "calm");
        self.calm = true;
        self.faults = super::scenario::Faults::default();
        self.function_out_until = self.now;
        self.broker_out_until = self.now;
        let planned = self.orders.contains(&Order::Start) || self.members.is_empty();
        if !planned && !self.members.iter().any(|member| member.alive) {
            self.orders.push_back(Order::Start);
        }
    }
}
