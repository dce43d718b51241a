//! One value of a leaf's array: a literal, or an operator with what it needs.

use std::fmt::Display;

use super::node::Node;
use super::{Address, AddressRange, Folded, Number, Range, Test, Wildcard};

/// The operators. All but the first are AWS's or event-ruler's documented ones.
pub(super) const OPERATORS: [&str; 9] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
];

/// What values of a leaf say.
#[derive(Clone, Debug, Default)]
pub(super) struct Tested {
    pub(super) tests: Vec<Test>,
    pub(super) may_be_absent: bool,
}

/// What is wrong with one value.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) found: String,
    pub(super) allowed: String,
    pub(super) remedy: String,
}

fn wrong<T>(found: impl Display, allowed: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { found: format!("{found}"), allowed: allowed.into(), remedy: remedy.into() })
}

/// Reads one value of a leaf's array.
pub(super) fn test(node: Node) -> Result<Tested, Wrong> {
    let test = match node {
        Node::Text(text) => match Address::parse(&text) {
            // event-ruler takes every spelling of an address for the same.
            Some(address) => Test::Address(AddressRange::only(address)),
            None => Test::Text(text),
        },
        Node::Number(text) => Test::Number(Number::new(&text)),
        Node::Word(word) => Test::Word(word),
        Node::Array(_) => {
            let allowed = "strings, numbers, true, false, null and operators";
            return wrong(node, allowed, "take the values out of the inner array");
        }
        Node::Object(members) => {
            let (name, operand) = single(members)?;
            if name == "exists" {
                return exists(operand);
            }
            operator(&name, operand)?
        }
    };
    Ok(Tested { tests: vec![test], may_be_absent: false })
}

/// The only member of an object.
fn single(members: Vec<(String, Node)>) -> Result<(String, Node), Wrong> {
    let allowed = "one operator in an object";
    let mut rest = members.into_iter();
    match (rest.next(), rest.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => wrong("an empty object", allowed, format!("write one of {}", OPERATORS[1..].join(", "))),
        (Some(first), Some(second)) => {
            let found = format!("{} and {} together", first.0, second.0);
            wrong(found, allowed, "write each into an object of its own; they are ORed")
        }
    }
}

fn exists(operand: Node) -> Result<Tested, Wrong> {
    match operand {
        Node::Word(super::Word::True) => Ok(Tested { tests: vec![Test::Present], may_be_absent: false }),
        Node::Word(super::Word::False) => Ok(Tested { tests: Vec::new(), may_be_absent: true }),
        other => {
            wrong(format!("exists {other}"), "true or false", "write {\"exists\":true} or {\"exists\":false}")
        }
    }
}

fn operator(name: &str, operand: Node) -> Result<Test, Wrong> {
    Ok(match (name, operand) {
        ("exactly", Node::Text(text)) => Test::Text(text),
        ("equals-ignore-case", Node::Text(text)) => Test::Folded(Folded::new(&text)),
        ("prefix", Node::Text(text)) => Test::Prefix(text),
        ("suffix", Node::Text(text)) => Test::Suffix(text),
        ("prefix", Node::Object(members)) => Test::PrefixFolded(folded("prefix", members)?),
        ("suffix", Node::Object(members)) => Test::SuffixFolded(folded("suffix", members)?),
        ("wildcard", Node::Text(text)) => Test::Wildcard(wildcard(&text)?),
        ("cidr", Node::Text(text)) => Test::Address(range_of_addresses(&text)?),
        ("numeric", Node::Array(items)) => numeric(&items)?,
        ("anything-but", operand) => anything_but(operand)?,
        ("numeric", other) => {
            return wrong(format!("numeric {other}"), "an array", "write {\"numeric\":[\">\",0,\"<=\",5]}");
        }
        (known, other) if OPERATORS.contains(&known) => {
            return wrong(format!("{known} {other}"), "a string", "write it in quotes");
        }
        (unknown, _) => {
            let allowed = OPERATORS[1..].join(", ");
            return wrong(format!("the operator {unknown}"), allowed, "correct its name");
        }
    })
}

fn folded(around: &str, members: Vec<(String, Node)>) -> Result<Folded, Wrong> {
    let (name, operand) = single(members)?;
    match (name.as_str(), operand) {
        ("equals-ignore-case", Node::Text(text)) => Ok(Folded::new(&text)),
        (name, operand) => {
            let found = format!("{around} of {name} {operand}");
            let allowed = format!("a string, or {{\"equals-ignore-case\":\"TEXT\"}} in {around}");
            wrong(found, allowed, "correct it")
        }
    }
}

fn wildcard(text: &str) -> Result<Wildcard, Wrong> {
    Wildcard::parse(text).or_else(|reason| {
        let allowed = "text with single asterisks, \\* and \\\\ for themselves (\\\\* and \\\\\\\\ in JSON)";
        wrong(format!("wildcard \"{text}\": {reason}"), allowed, "correct it")
    })
}

fn range_of_addresses(text: &str) -> Result<AddressRange, Wrong> {
    match AddressRange::parse(text) {
        Some(range) => Ok(range),
        None => {
            let allowed = "an address, a slash and 0 to 31 bits (IPv6: 0 to 127)";
            wrong(format!("cidr \"{text}\""), allowed, "write such as 10.0.0.0/8")
        }
    }
}

/// `["=",5]`, `[">",0]`, `[">",0,"<=",5]`: a lower bound first, then an upper one.
fn numeric(items: &[Node]) -> Result<Test, Wrong> {
    let refuse = || {
        let found = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let allowed = "=, <, <=, > or >= with a number, or a range whose lower bound comes first";
        wrong(format!("numeric [{found}]"), allowed, "write such as [\">\",0,\"<=\",5]")
    };
    let mut bounds = Vec::new();
    for pair in items.chunks(2) {
        let [Node::Text(operator), Node::Number(text)] = pair else { return refuse() };
        let number = Number::new(text);
        let Some(value) = number.value else {
            let allowed = "a number that is the shortest decimal of a double";
            return wrong(format!("numeric {text}"), allowed, "write fewer digits");
        };
        bounds.push((operator.as_str(), number, value));
    }
    let upper = |operator: &str| (operator == "<" || operator == "<=").then_some(operator == "<=");
    let lower = |operator: &str| (operator == ">" || operator == ">=").then_some(operator == ">=");
    let range = match bounds.as_slice() {
        [("=", number, _)] => return Ok(Test::Number(number.clone())),
        [(operator, _, value)] => match (lower(operator), upper(operator)) {
            (Some(included), _) => Range { low: Some((*value, included)), high: None },
            (_, Some(included)) => Range { low: None, high: Some((*value, included)) },
            _ => return refuse(),
        },
        [(first, _, low), (second, _, high)] => match (lower(first), upper(second)) {
            (Some(over), Some(under)) if low < high => {
                Range { low: Some((*low, over)), high: Some((*high, under)) }
            }
            (Some(_), Some(_)) => {
                let found = format!("numeric from {low} to {high}");
                return wrong(found, "a lower bound below the upper one", "exchange them, or use =");
            }
            _ => return refuse(),
        },
        _ => return refuse(),
    };
    Ok(Test::Range(range))
}

fn anything_but(operand: Node) -> Result<Test, Wrong> {
    let inner: fn(String) -> Result<Test, Wrong>;
    let (kind, operand) = match operand {
        Node::Object(members) => {
            let (name, operand) = single(members)?;
            inner = match name.as_str() {
                "prefix" => |text| some_text(text).map(Test::Prefix),
                "suffix" => |text| some_text(text).map(Test::Suffix),
                "equals-ignore-case" => |text| Ok(Test::Folded(Folded::new(&text))),
                "wildcard" => |text| wildcard(&text).map(Test::Wildcard),
                _ => {
                    let allowed = "prefix, suffix, equals-ignore-case or wildcard in anything-but";
                    return wrong(format!("anything-but of {name}"), allowed, "correct it");
                }
            };
            (Some(name), operand)
        }
        other => {
            inner = |text| Ok(Test::Text(text));
            (None, other)
        }
    };
    let items = match operand {
        Node::Array(items) => items,
        single => vec![single],
    };
    let shown = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let texts = items.iter().filter(|item| matches!(item, Node::Text(_))).count();
    let numbers = items.iter().filter(|item| matches!(item, Node::Number(_))).count();
    let alike = !items.is_empty() && (texts == items.len() || (kind.is_none() && numbers == items.len()));
    if !alike {
        let allowed = match kind {
            None => "a string, a number, or an array of either strings or numbers".to_owned(),
            Some(kind) => format!("a string or an array of strings in {kind}"),
        };
        return wrong(format!("anything-but [{shown}]"), allowed, "correct it");
    }
    let mut tests = Vec::with_capacity(items.len());
    for item in items {
        tests.push(match item {
            Node::Number(text) => {
                let number = Number::new(&text);
                if number.value.is_none() {
                    let allowed = "a number that is the shortest decimal of a double";
                    return wrong(format!("anything-but {text}"), allowed, "write fewer digits");
                }
                Test::Number(number)
            }
            Node::Text(text) => inner(text)?,
            other => return wrong(other, "a string", "write it in quotes"),
        });
    }
    Ok(Test::AnythingBut(tests))
}

fn some_text(text: String) -> Result<String, Wrong> {
    if text.is_empty() {
        return wrong("an empty prefix or suffix", "at least one character", "use {\"exists\":false}");
    }
    Ok(text)
}
