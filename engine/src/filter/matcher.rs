//! Decides record by record.

use std::sync::Arc;

use super::evaluate::{Scalar, any_holds};
use super::filters::{Filters, Part};
use super::json::{DEPTH_MAX, Json, Kind, NotJson, is_json};
use super::marks::Marks;
use super::tree::Tree;
use crate::ids::Topic;
use crate::mapping::pattern::Field;
use crate::record::Record;

/// Holds records against [`Filters`], and keeps the room it needs for that: one for each thread.
#[derive(Debug)]
pub struct Matcher {
    pub(super) filters: Arc<Filters>,
    pub(super) marks: Marks,
    /// For strings with escapes.
    room: String,
    /// What was held against which condition, if somebody wants to know.
    pub(super) trace: Option<Vec<Held>>,
}

/// A value that was held against a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) condition: u32,
    pub(super) value: String,
    pub(super) holds: bool,
}

/// What a key or value turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    Null,
    NotText,
    Json,
    Plain,
    /// It made no difference.
    NotLookedAt,
}

impl Matcher {
    /// A matcher for these filters.
    #[must_use]
    pub fn new(filters: Arc<Filters>) -> Self {
        Self { filters, marks: Marks::default(), room: String::new(), trace: None }
    }

    /// The filters.
    #[must_use]
    pub fn filters(&self) -> &Arc<Filters> {
        &self.filters
    }

    /// Whether the record is to be delivered. Reads its value (and key, if a pattern names it) at
    /// most twice; allocates nothing, except that the room for strings with escapes may grow.
    pub fn keeps<R: Record>(&mut self, topic: &Topic, record: &R) -> bool {
        let (filters, mut held) = self.holding();
        held.marks.clear(filters.words);
        if !filters.others.is_empty() {
            held.others(topic, record);
        }
        let mut rest = Some(&filters.of_value);
        if filters.key.is_asked_for() {
            held.part(&filters.key, record.key());
        } else if filters.others.is_empty() {
            rest = None;
        }
        // What the value cannot save is not looked into.
        if rest.is_some() && !held.any_alternative(rest) {
            return false;
        }
        if filters.value.is_asked_for() {
            held.part(&filters.value, record.value());
        }
        held.any_alternative(None)
    }

    pub(super) fn holding(&mut self) -> (&Filters, Holding<'_>) {
        let Self { filters, marks, room, trace } = self;
        (filters, Holding { filters, marks, room, trace: trace.as_mut() })
    }
}

impl Part {
    fn is_asked_for(&self) -> bool {
        self.tree.is_some() || !self.plain.is_empty()
    }
}

/// A record being held against the filters.
pub(super) struct Holding<'m> {
    filters: &'m Filters,
    pub(super) marks: &'m mut Marks,
    room: &'m mut String,
    trace: Option<&'m mut Vec<Held>>,
}

impl Holding<'_> {
    #[inline]
    fn any_alternative(&self, assumed: Option<&super::marks::Bits>) -> bool {
        let filters = self.filters;
        filters
            .alternatives
            .iter()
            .any(|all| self.marks.all_met(&all.conditions, &filters.may_be_absent, assumed))
    }

    /// Holds a value against conditions of its field.
    #[inline]
    fn hold(&mut self, conditions: &[u32], value: Scalar<'_>) {
        for &condition in conditions {
            self.marks.see(condition);
            let holds = any_holds(self.filters.tests(condition), value);
            if holds {
                self.marks.meet(condition);
            }
            if let Some(trace) = &mut self.trace {
                trace.push(Held { condition, value: shown(value), holds });
            }
        }
    }

    /// Holds the parts of the record that are neither key nor value.
    pub(super) fn others<R: Record>(&mut self, topic: &Topic, record: &R) {
        let filters = self.filters;
        for &condition in &filters.others {
            let wanted = &filters.conditions[condition as usize];
            let mut number = itoa::Buffer::new();
            let value = match wanted.field {
                Field::Topic => Scalar::Text(topic.as_str()),
                Field::Partition => Scalar::Number(number.format(record.partition().0)),
                Field::Offset => Scalar::Number(number.format(record.offset().0)),
                Field::Timestamp => Scalar::Number(number.format(record.timestamp_ms())),
                Field::TimestampType => Scalar::Text(record.timestamp_type().name()),
                Field::Headers => {
                    self.headers(condition, &wanted.path, record);
                    continue;
                }
                // Not among `others`.
                Field::Value | Field::Key => continue,
            };
            self.hold(&[condition], value);
        }
    }

    /// Holds the values of the headers of one name; a value that is null is JSON's null, and one
    /// that is not UTF-8 is only there.
    fn headers<R: Record>(&mut self, condition: u32, path: &[String], record: &R) {
        for header in record.headers().filter(|header| is_joined(path, header.name)) {
            match header.value.map(simdutf8::basic::from_utf8) {
                None => self.hold(&[condition], Scalar::Word(crate::mapping::pattern::Word::Null)),
                Some(Ok(text)) => self.hold(&[condition], Scalar::Text(text)),
                // U+FFFD stands in no text that somebody wrote into a pattern on purpose.
                Some(Err(_)) => self.hold(&[condition], Scalar::Text("\u{fffd}")),
            }
        }
    }

    /// Holds the value or the key. See the table in [`super`].
    pub(super) fn part(&mut self, part: &Part, bytes: Option<&[u8]>) -> Bytes {
        let Some(bytes) = bytes else {
            self.marks.meet_all(&part.of_tree);
            for &condition in &part.plain {
                if !self.filters.conditions[condition as usize].asks_existence() {
                    self.marks.meet(condition);
                }
            }
            return Bytes::Null;
        };
        let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
            self.marks.meet_all(&part.of_tree);
            self.marks.meet_all(&part.of_plain);
            return Bytes::NotText;
        };
        let Some(tree) = &part.tree else { return self.plain_only(part, text) };
        let prefilter = part.prefilter.as_ref().filter(|_| self.trace.is_none());
        let hopeless = prefilter.and_then(|prefilter| prefilter.is_hopeless_json(text));
        let json = hopeless.unwrap_or_else(|| self.json(tree, text).is_ok());
        if json {
            self.marks.meet_all(&part.of_plain);
            return Bytes::Json;
        }
        // Whatever was found until it broke off does not count.
        self.marks.meet_all(&part.of_tree);
        self.hold(&part.plain, Scalar::Text(text));
        Bytes::Plain
    }

    fn plain_only(&mut self, part: &Part, text: &str) -> Bytes {
        self.hold(&part.plain, Scalar::Text(text));
        let all_met = part.plain.iter().all(|condition| self.marks.is_met(*condition));
        if all_met && self.trace.is_none() {
            return Bytes::NotLookedAt;
        }
        if !is_json(text) {
            return Bytes::Plain;
        }
        self.marks.meet_all(&part.of_plain);
        Bytes::Json
    }

    fn json(&mut self, tree: &Tree, text: &str) -> Result<(), NotJson> {
        let mut json = Json::new(text);
        let read = self.value(tree, 0, &mut json, 0).and_then(|()| json.end());
        if read.is_err() {
            self.marks.leave_all();
        }
        read
    }

    /// Reads the value that stands at `place` of the tree.
    fn value(&mut self, tree: &Tree, place: u32, json: &mut Json<'_>, depth: usize) -> Result<(), NotJson> {
        let node = tree.node(place);
        match json.kind() {
            Kind::Object if node.is_leaf() => json.skip(depth),
            Kind::Object => self.object(tree, place, json, depth),
            Kind::Array => self.array(tree, place, json, depth),
            Kind::Text => {
                let spelt = json.string()?;
                if !node.conditions.is_empty() {
                    // The room is taken out of the way while a value in it is held.
                    let mut room = std::mem::take(self.room);
                    self.hold(&node.conditions, Scalar::Text(spelt.resolve(&mut room)));
                    *self.room = room;
                }
                Ok(())
            }
            Kind::Bare => {
                let text = json.bare()?;
                if !node.conditions.is_empty() {
                    self.hold(&node.conditions, Scalar::bare(text));
                }
                Ok(())
            }
        }
    }

    fn object(&mut self, tree: &Tree, place: u32, json: &mut Json<'_>, depth: usize) -> Result<(), NotJson> {
        if depth >= DEPTH_MAX {
            return Err(NotJson);
        }
        let mut more = json.enter(b'}');
        while more {
            let name = json.name()?;
            match tree.follow(place, name.resolve(self.room)) {
                Some(child) => self.value(tree, child, json, depth + 1)?,
                None => json.skip(depth + 1)?,
            }
            more = json.another(b'}')?;
        }
        Ok(())
    }

    /// Arrays are looked through: what stands in them stands at the array's own place.
    fn array(&mut self, tree: &Tree, place: u32, json: &mut Json<'_>, depth: usize) -> Result<(), NotJson> {
        if depth >= DEPTH_MAX {
            return Err(NotJson);
        }
        let is_leaf = tree.node(place).is_leaf();
        let mut more = json.enter(b']');
        while more {
            let kind = json.kind();
            if is_leaf && kind == Kind::Object {
                json.skip(depth + 1)?;
            } else if matches!(kind, Kind::Object | Kind::Array) {
                self.marks.enter_element();
                self.value(tree, place, json, depth + 1)?;
                self.marks.leave_element(&tree.node(place).groups, &self.filters.may_be_absent);
            } else {
                self.value(tree, place, json, depth + 1)?;
            }
            more = json.another(b']')?;
        }
        Ok(())
    }
}

/// Whether `name` is the steps of `path` joined by dots.
fn is_joined(path: &[String], name: &[u8]) -> bool {
    let mut rest = Some(name);
    for (at, step) in path.iter().enumerate() {
        let dotted = if at == 0 { rest } else { rest.and_then(|rest| rest.strip_prefix(b".")) };
        rest = dotted.and_then(|rest| rest.strip_prefix(step.as_bytes()));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

fn shown(value: Scalar<'_>) -> String {
    match value {
        Scalar::Text(text) => format!("\"{text}\""),
        Scalar::Number(text) => text.to_owned(),
        Scalar::Word(word) => word.as_str().to_owned(),
    }
}
