//! A pattern's text into alternatives of conditions. Everything that is wrong is said, not the
//! first thing only.

use super::node::Node;
use super::operator::{OPERATORS, Tested, test};
use super::{Alternative, Complaint, Condition, Field};
use crate::mapping::limits::{FILTER_ALTERNATIVES_MAX, FILTER_PATTERN_CHARS_MAX};

/// The word that makes an array of objects alternatives.
const OR: &str = "$or";

/// Names that may not stand for fields among alternatives: where one does, `$or` is a field itself.
/// The operators, and what event-ruler keeps for itself.
const RESERVED: [&str; 15] = [
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// What is known of one alternative so far: conditions by the names that lead to them.
type Draft = Vec<(String, Tested)>;

pub(super) fn parse(text: &str, strict: bool) -> Result<Vec<Alternative>, Vec<Complaint>> {
    let mut reader = Reader { strict, path: Vec::new(), complaints: Vec::new() };
    let chars = text.chars().count();
    if chars > FILTER_PATTERN_CHARS_MAX {
        let allowed = format!("at most {FILTER_PATTERN_CHARS_MAX} characters");
        reader.complain(format!("{chars} characters"), allowed, "split it into several filters");
        return Err(reader.complaints);
    }
    let mut drafts = vec![Draft::new()];
    match Node::parse(text) {
        Ok(Node::Object(members)) => reader.object(&mut drafts, members),
        Ok(other) => reader.complain(
            other.to_string(),
            "a JSON object",
            "write it as {\"value\":{\"FIELD\":[\"TEXT\"]}}",
        ),
        Err(error) => reader.complain(error.to_string(), "a JSON object", "correct it at that place"),
    }
    let alternatives = reader.alternatives(drafts);
    if reader.complaints.is_empty() { Ok(alternatives) } else { Err(reader.complaints) }
}

struct Reader {
    strict: bool,
    path: Vec<String>,
    complaints: Vec<Complaint>,
}

impl Reader {
    fn complain(&mut self, found: impl Into<String>, allowed: impl Into<String>, remedy: impl Into<String>) {
        let complaint = Complaint {
            at: self.path.join("."),
            found: found.into(),
            allowed: allowed.into(),
            remedy: remedy.into(),
        };
        // Alternatives are read once each, and say the same of what they share.
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }

    /// Adds the conditions of an object's members to every draft.
    fn object(&mut self, drafts: &mut Vec<Draft>, members: Vec<(String, Node)>) {
        if members.is_empty() {
            self.complain("an empty object", "at least one field", "name a field, or remove it");
        }
        for (name, node) in members {
            match node {
                Node::Array(items) if name == OR && are_alternatives(&items) => self.or(drafts, items),
                Node::Object(members) => {
                    self.path.push(name);
                    self.object(drafts, members);
                    self.path.pop();
                }
                Node::Array(items) => {
                    self.path.push(name);
                    let tested = self.tests(items);
                    let name = self.path.join(".");
                    for draft in drafts.iter_mut() {
                        // The last word on a field counts, as with members of one name.
                        draft.retain(|(there, _)| *there != name);
                        draft.push((name.clone(), tested.clone()));
                    }
                    self.path.pop();
                }
                other => {
                    self.path.push(name);
                    let remedy = format!("put it into an array: [{other}]");
                    self.complain(other.to_string(), "an object of fields, or an array of values", remedy);
                    self.path.pop();
                }
            }
        }
    }

    /// Multiplies the drafts by the alternatives.
    fn or(&mut self, drafts: &mut Vec<Draft>, items: Vec<Node>) {
        let before = std::mem::take(drafts);
        for item in items {
            let Node::Object(members) = item else { continue };
            let mut branch = before.clone();
            self.object(&mut branch, members);
            drafts.append(&mut branch);
            if drafts.len() > FILTER_ALTERNATIVES_MAX {
                let allowed = format!("at most {FILTER_ALTERNATIVES_MAX} combinations of all $or together");
                self.complain("more combinations", allowed, "split the pattern into several filters");
                drafts.truncate(1);
            }
        }
    }

    fn tests(&mut self, items: Vec<Node>) -> Tested {
        let mut all = Tested::default();
        if items.is_empty() {
            self.complain("an empty array", "at least one value", "name a value, or remove the field");
        }
        for item in items {
            match test(item) {
                Ok(tested) => {
                    all.tests.extend(tested.tests);
                    all.may_be_absent |= tested.may_be_absent;
                }
                Err(wrong) => self.complain(wrong.found, wrong.allowed, wrong.remedy),
            }
        }
        all
    }

    fn alternatives(&mut self, drafts: Vec<Draft>) -> Vec<Alternative> {
        let mut alternatives = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let conditions = draft.into_iter().filter_map(|(name, tested)| self.condition(&name, tested));
            alternatives.push(Alternative { conditions: conditions.collect() });
        }
        alternatives
    }

    fn condition(&mut self, name: &str, tested: Tested) -> Option<Condition> {
        let mut steps = name.split('.').map(str::to_owned);
        let first = steps.next()?;
        let path: Vec<String> = steps.collect();
        let field = Field::ALL.into_iter().find(|field| field.name() == first);
        let field = field.filter(|field| !self.strict || *field == Field::Value);
        self.path = vec![first.clone()];
        let Some(field) = field else {
            let remedy = if first == OR {
                "$or needs at least two objects, and no operators in place of fields".to_owned()
            } else {
                format!("did you mean {{\"value\":{{\"{first}\":...}}}}?")
            };
            self.complain("an unknown part of a record", known_fields(self.strict), remedy);
            self.path.clear();
            return None;
        };
        let fits = match field {
            Field::Value | Field::Key => true,
            Field::Headers => !path.is_empty(),
            _ => path.is_empty(),
        };
        if !fits {
            let (found, allowed) = match field {
                Field::Headers => ("an array", "an object of header names"),
                _ => ("an object", "an array of values"),
            };
            self.complain(found, allowed, "see the event that a function gets");
        }
        self.path.clear();
        let Tested { tests, may_be_absent } = tested;
        fits.then_some(Condition { field, path, tests, may_be_absent })
    }
}

fn known_fields(strict: bool) -> String {
    if strict {
        return "value".to_owned();
    }
    Field::ALL.map(Field::name).join(", ")
}

/// Whether `$or` with these items means alternatives; else it is a field like any other.
fn are_alternatives(items: &[Node]) -> bool {
    items.len() >= 2 && items.iter().all(|item| matches!(item, Node::Object(members) if no_reserved(members)))
}

fn no_reserved(members: &[(String, Node)]) -> bool {
    members.iter().all(|(name, node)| {
        let name = name.as_str();
        let inside = match node {
            Node::Object(members) => no_reserved(members),
            _ => true,
        };
        inside && !RESERVED.contains(&name) && !OPERATORS.contains(&name)
    })
}
