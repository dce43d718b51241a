//! The matcher against the reference, over generated patterns and values.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests::record;
use super::{Filters, Matcher, Pattern, fuzz, reference, samples};
use crate::ids::Topic;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_decides_as_the_reference_does(
        texts in prop::collection::vec(samples::pattern_text(), 1..3), value in samples::value(),
    ) {
        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::parse(text, true).expect("valid")).collect();
        let mut matcher = Matcher::new(Arc::new(Filters::new(&patterns)));
        let record = record(value.as_deref());
        let topic = Topic::new("t");
        let kept = matcher.keeps(&topic, &record);
        let explanation = matcher.explain(&topic, &record);
        let shown = value.as_deref().map(String::from_utf8_lossy);
        prop_assert_eq!(kept, reference::keeps(&patterns, value.as_deref()), "{:?}\n{}", shown, explanation);
        prop_assert_eq!(kept, explanation.passes);
        prop_assert_eq!(kept, matcher.keeps(&topic, &record));
    }

    #[test]
    fn nothing_panics(data in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        (samples::pattern_text(), samples::value(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(pattern, value, at, byte)| {
            let mut data = pattern.into_bytes();
            data.push(0);
            data.extend(value.unwrap_or_default());
            let at = at.index(data.len());
            data[at] = byte;
            data
        }),
    ]) {
        fuzz::pattern_and_value(&data);
    }
}

#[test]
fn generated_records_both_match_and_do_not() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut kept, mut all) = (0, 0);
    for _ in 0..2000 {
        let text = samples::pattern_text().new_tree(&mut runner).expect("a sample").current();
        let value = samples::json_text().new_tree(&mut runner).expect("a sample").current();
        let patterns = [Pattern::parse(&text, true).expect("valid")];
        // Those that pass unapplied say little.
        if patterns[0].alternatives().iter().all(|all| all.conditions.iter().all(|c| !c.path.is_empty())) {
            all += 1;
            kept += usize::from(reference::keeps(&patterns, Some(value.as_bytes())));
        }
    }
    assert!(kept * 20 > all && kept * 2 < all, "{kept} of {all} match: the property would show little");
}
