//! Generated patterns and values, few enough of each that they meet.

use proptest::prelude::*;

const NAMES: [&str; 4] = ["a", "b", "name with space", "c"];

/// Values of fields, as JSON spells them.
fn scalar() -> impl Strategy<Value = String> {
    let texts =
        vec!["x", "xy", "X", "yx", "", "ß", "SS", "10.0.0.1", "10.1.0.1", "1", "a/b", "é", "null", "xxy"];
    let bare = vec![
        "1",
        "1.0",
        "10",
        "1e1",
        "-5",
        "-5.0",
        "0",
        "-0.0",
        "9007199254740993",
        "9007199254740992",
        "1e400",
        "0.1",
        "true",
        "false",
        "null",
        "300",
        "3.0e2",
    ];
    prop_oneof![
        3 => (prop::sample::select(texts), 0..4).prop_map(|(text, spelling)| spelt(text, spelling)),
        2 => prop::sample::select(bare).prop_map(str::to_owned),
    ]
}

/// `text` in quotes, in one of the ways JSON allows.
fn spelt(text: &str, spelling: i32) -> String {
    let inside: String = match spelling {
        0 => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
        1 => text.replace('/', "\\/"),
        _ => text.to_owned(),
    };
    format!("\"{inside}\"")
}

/// JSON texts of a few fields, some in arrays, spaced and spelt in several ways. Most are objects
/// whose fields patterns name.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let deeper = scalar().prop_recursive(3, 12, 3, |inner| prop_oneof![object(inner.clone()), array(inner)]);
    let member = prop_oneof![4 => scalar(), 1 => array(scalar()), 2 => object(scalar()), 1 => array(object(scalar())), 1 => deeper.clone()];
    let value = prop_oneof![8 => object(member.clone()), 1 => array(object(member)), 1 => deeper];
    (value, prop::sample::select(vec!["", " ", "\n"]))
        .prop_map(|(value, around)| format!("{around}{value}{around}"))
}

fn object(member: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> + Clone {
    let members = prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), member, 0..4);
    let text = (members, any::<bool>()).prop_map(|(members, spaced)| {
        let (colon, comma) = if spaced { (" : ", " ,\n") } else { (":", ",") };
        let members = members.into_iter().map(|(name, value)| format!("\"{name}\"{colon}{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(comma))
    });
    text.boxed()
}

fn array(item: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> + Clone {
    prop::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))).boxed()
}

fn test() -> impl Strategy<Value = String> {
    let operators = vec![
        r#"{"exists":true}"#,
        r#"{"exists":false}"#,
        r#"{"prefix":"x"}"#,
        r#"{"suffix":"y"}"#,
        r#"{"prefix":"10."}"#,
        r#"{"equals-ignore-case":"XY"}"#,
        r#"{"equals-ignore-case":"ß"}"#,
        r#"{"prefix":{"equals-ignore-case":"X"}}"#,
        r#"{"suffix":{"equals-ignore-case":"X"}}"#,
        r#"{"wildcard":"x*y"}"#,
        r#"{"wildcard":"*1"}"#,
        r#"{"cidr":"10.0.0.0/16"}"#,
        r#"{"numeric":["=",10]}"#,
        r#"{"numeric":[">",0,"<=",10]}"#,
        r#"{"numeric":["<",0]}"#,
        r#"{"numeric":[">=",300]}"#,
        r#"{"anything-but":"x"}"#,
        r#"{"anything-but":["x","xy"]}"#,
        r#"{"anything-but":[1,300]}"#,
        r#"{"anything-but":{"prefix":"x"}}"#,
        r#"{"anything-but":{"suffix":["x","y"]}}"#,
        r#"{"anything-but":{"equals-ignore-case":["X","Y"]}}"#,
        r#"{"anything-but":{"wildcard":"*x*"}}"#,
    ];
    prop_oneof![scalar(), prop::sample::select(operators).prop_map(str::to_owned)]
}

fn leaf() -> impl Strategy<Value = String> {
    prop::collection::vec(test(), 1..4).prop_map(|tests| format!("[{}]", tests.join(",")))
}

/// What a pattern asks of the fields of a JSON text.
fn fields() -> impl Strategy<Value = String> {
    let members = |member: BoxedStrategy<String>| {
        prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), member, 1..3).prop_map(|members| {
            let members = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
            members.collect::<Vec<_>>().join(",")
        })
    };
    let nested = members(leaf().boxed()).prop_map(|all| format!("{{{all}}}"));
    let nested =
        prop_oneof![3 => nested.clone(), 1 => members(nested.boxed()).prop_map(|all| format!("{{{all}}}"))];
    let member = prop_oneof![3 => leaf(), 1 => nested];
    // The names of alternatives are others, so that no field is asked for twice in one of them.
    let branch = (prop::sample::select(vec!["or", "d"]), leaf())
        .prop_map(|(name, leaf)| format!("{{\"{name}\":{leaf}}}"));
    let branches = prop::option::weighted(0.2, prop::collection::vec(branch, 2..4));
    (members(member.boxed()), branches).prop_map(|(own, or)| {
        let or = or.map_or(String::new(), |branches| format!(",\"$or\":[{}]", branches.join(",")));
        format!("{{{own}{or}}}")
    })
}

/// Patterns for the value: for JSON mostly, sometimes for a plain string.
pub(crate) fn pattern_text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => fields().prop_map(|fields| format!("{{\"value\":{fields}}}")),
        1 => leaf().prop_map(|leaf| format!("{{\"value\":{leaf}}}")),
        1 => (fields(), leaf())
            .prop_map(|(fields, leaf)| format!("{{\"$or\":[{{\"value\":{fields}}},{{\"value\":{leaf}}}]}}")),
    ]
}

/// Values of records: JSON, nearly JSON, plain strings, bytes, null.
pub(crate) fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        8 => json_text().prop_map(|text| Some(text.into_bytes())),
        1 => json_text().prop_map(|text| {
            let bytes = text.into_bytes();
            Some(bytes[..bytes.len() - 1].to_vec())
        }),
        1 => prop::sample::select(vec!["x", "xy", "", "10.0.0.1", "plain text", "1", "{", "ß"])
            .prop_map(|text| Some(text.as_bytes().to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Some),
        1 => Just(None),
    ]
}
