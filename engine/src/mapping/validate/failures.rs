//! What becomes of records whose invocation fails.

use std::time::Duration;

use super::{Check, direction};
use crate::ids::Topic;
use crate::mapping::DestinationTarget;
use crate::mapping::destination::NoDestination;
use crate::mapping::limits::{
    DESTINATION_CHARS_MAX, RECORD_AGE, RETRY_ATTEMPTS, RETRY_ATTEMPTS_WITH_DESTINATION,
};
use crate::mapping::problem::Problem;
use crate::mapping::settings::MappingSettings;

impl Check<'_> {
    pub(super) fn destination(
        &mut self,
        given: &MappingSettings,
        topic: Option<&Topic>,
    ) -> Option<DestinationTarget> {
        const PATH: &str = "destination_config";
        let config = given.destination_config.as_ref()?;
        if config.on_success {
            // AWS's own words, which its users may look for.
            let said = "Unsupported DestinationConfig parameter for given event source mapping type.";
            self.problems.push(Problem::wrong(
                PATH,
                "OnSuccess",
                "OnFailure only",
                format!("remove it: {said}"),
            ));
        }
        let text = config.on_failure.as_deref()?;
        if text.chars().count() > DESTINATION_CHARS_MAX {
            self.wrong(PATH, &format!("{} characters", text.chars().count()), "correct it");
            return None;
        }
        match DestinationTarget::parse(text) {
            Ok(DestinationTarget::Kafka { topic: own }) if topic == Some(&own) => {
                let remedy = "name another topic: what was given up would be read again";
                self.wrong(PATH, &format!("{text}, the topic that is read"), remedy);
                None
            }
            Ok(target) => Some(target),
            Err(NoDestination { found, remedy }) => {
                let found = if found.is_empty() { String::new() } else { format!(", {found}") };
                self.wrong(PATH, &format!("\"{text}\"{found}"), remedy);
                None
            }
        }
    }

    /// Retries after the first attempt; `None` for no limit.
    pub(super) fn retry_attempts(&mut self, given: &MappingSettings, has_destination: bool) -> Option<u32> {
        const PATH: &str = "maximum_retry_attempts";
        let attempts = given.maximum_retry_attempts.map_or(-1, |whole| whole.0);
        if !RETRY_ATTEMPTS.contains(&attempts) {
            self.wrong(PATH, &attempts.to_string(), direction(attempts < *RETRY_ATTEMPTS.start()));
        }
        if attempts == -1 && has_destination {
            // Endless retries would keep a destination from ever being used.
            self.derived.insert(PATH, "AWS's limit with a destination".to_owned());
            self.notes.push(format!(
                "{PATH}: without a limit and with a destination, records go there after \
                 {RETRY_ATTEMPTS_WITH_DESTINATION} retries, as AWS has it"
            ));
            return Some(RETRY_ATTEMPTS_WITH_DESTINATION);
        }
        u32::try_from(attempts).ok()
    }

    pub(super) fn record_age(&mut self, given: &MappingSettings) -> Option<Duration> {
        let age = given.maximum_record_age.and_then(|age| age.0)?;
        if !RECORD_AGE.contains(&age.0) {
            self.wrong("maximum_record_age", &age.to_string(), direction(age.0 < *RECORD_AGE.start()));
        }
        Some(age.0)
    }

    /// Whether the function reports which records failed.
    pub(super) fn report_batch_item_failures(&mut self, given: &MappingSettings) -> bool {
        const PATH: &str = "function_response_types";
        let none = |names: &[String]| matches!(names, [only] if only.is_empty() || only == "none");
        match given.function_response_types.as_ref().map(|names| names.0.as_slice()) {
            None | Some([]) => false,
            Some(names) if none(names) => false,
            Some([only]) if only == "ReportBatchItemFailures" => true,
            Some([only]) => {
                self.wrong(PATH, &format!("\"{only}\""), "write this word, or leave it out");
                false
            }
            Some(names) => {
                self.wrong(PATH, &format!("{} types", names.len()), "write it once");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{mapping, problems};
    use crate::mapping::{DestinationTarget, Nothing, explain};

    const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:given-up";

    #[test]
    fn a_destination_is_given_as_text_or_in_aws_s_shape() {
        for toml in [
            format!("destination_config = '{QUEUE}'"),
            format!("destination_config = {{ OnFailure = {{ Destination = '{QUEUE}' }} }}"),
            format!("[destination_config]\non_failure.destination = '{QUEUE}'"),
            format!("destination_config = '{{\"OnFailure\":{{\"Destination\":\"{QUEUE}\"}}}}'"),
        ] {
            let target = mapping(&toml).destination.expect("given");
            assert_eq!(target.to_string(), QUEUE, "{toml}");
            let DestinationTarget::Sqs { region, account, queue, .. } = target else { panic!("{target:?}") };
            assert_eq!(
                (region.as_str(), account.as_str(), queue.as_str()),
                ("eu-central-1", "123456789012", "given-up")
            );
        }
        for none in ["", "''", "'none'", "{}", "{ OnFailure = {} }", "{ OnFailure = { Destination = '' } }"] {
            let toml = if none.is_empty() { String::new() } else { format!("destination_config = {none}") };
            assert_eq!(mapping(&toml).destination, None, "{none}");
        }
        for wrong in ["5", "[]", "{ on_fail = {} }", "{ OnFailure = 'x' }", "{ OnFailure = { Arn = 'x' } }"] {
            let said = problems(&format!("destination_config = {wrong}"));
            assert!(said.contains("destination_config: found"), "{wrong}: {said}");
        }
    }

    #[test]
    fn queues_topics_and_buckets_of_every_partition_are_destinations() {
        for arn in [
            QUEUE,
            "arn:aws-cn:sqs:cn-north-1:123456789012:q",
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:topic_1",
            "arn:aws:s3:::given-up.example",
            "arn:aws-cn:s3:::bucket",
            "kafka://given-up",
            "kafka://x",
        ] {
            let target = mapping(&format!("destination_config = '{arn}'")).destination.expect("given");
            assert_eq!(target.to_string(), arn);
        }
        for (wrong, said) in [
            ("arn:aws:sqs:eu-central-1:123456789012:q.fifo", "a FIFO queue or topic"),
            ("arn:aws:sns:eu-central-1:123456789012:t.fifo", "a FIFO queue or topic"),
            ("arn:aws:lambda:eu-central-1:123456789012:function:f", "an ARN of another service"),
            ("arn:aws:sqs:eu-central-1:1234:q", "correct the ARN"),
            ("arn:aws:sqs:eu-central-1:123456789012:", "correct the ARN"),
            ("arn:aws:sns:eu-central-1:123456789012:t:subscription", "correct the ARN"),
            ("arn:aws:s3:::Bucket", "correct the ARN"),
            ("arn:aws:s3:::bucket/prefix", "correct the ARN"),
            ("arn:azure:s3:::bucket", "correct the ARN"),
            ("https://sqs.eu-central-1.amazonaws.com/1/q", "correct the ARN"),
            ("kafka://", "correct the ARN"),
            ("kafka://.x", "correct the ARN"),
            ("kafka://a b", "correct the ARN"),
            ("kafka://t", "kafka://t, the topic that is read"),
        ] {
            let text = problems(&format!("destination_config = '{wrong}'"));
            assert!(text.contains(said) && text.contains("destination_config: found"), "{wrong}: {text}");
        }
        let long = problems(&format!("destination_config = 'arn:aws:s3:::{}'", "x".repeat(340)));
        assert!(long.contains("found 353 characters; allowed: an ARN"), "{long}");
    }

    #[test]
    fn on_success_is_refused_in_aws_s_words() {
        let said = problems(&format!(
            "destination_config = {{ OnFailure = {{ Destination = '{QUEUE}' }}, OnSuccess = {{}} }}"
        ));
        assert!(said.contains("destination_config: found OnSuccess; allowed: OnFailure only"), "{said}");
        let words = "Unsupported DestinationConfig parameter for given event source mapping type.";
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn retries_are_endless_unless_limited_or_given_a_destination() {
        assert_eq!(mapping("").maximum_retry_attempts, None);
        assert_eq!(mapping("maximum_retry_attempts = -1").maximum_retry_attempts, None);
        assert_eq!(mapping("maximum_retry_attempts = 0").maximum_retry_attempts, Some(0));
        assert_eq!(mapping("maximum_retry_attempts = '10000'").maximum_retry_attempts, Some(10_000));
        let destination = format!("destination_config = '{QUEUE}'");
        let capped = mapping(&destination);
        assert_eq!(capped.maximum_retry_attempts, Some(10));
        assert!(capped.notes.iter().any(|note| note.contains("after 10 retries")), "{:?}", capped.notes);
        let limited = mapping(&format!("{destination}\nmaximum_retry_attempts = 3"));
        assert_eq!((limited.maximum_retry_attempts, limited.notes.len()), (Some(3), 0));
        for wrong in ["-2", "10001"] {
            let said = problems(&format!("maximum_retry_attempts = {wrong}"));
            assert!(
                said.contains(&format!("maximum_retry_attempts: found {wrong}; allowed: -1 to 10000")),
                "{said}"
            );
        }
    }

    #[test]
    fn a_record_s_age_is_unlimited_or_a_minute_to_a_week() {
        assert_eq!(mapping("").maximum_record_age, None);
        for name in ["maximum_record_age", "maximum_record_age_in_seconds"] {
            for (text, seconds) in [("60", 60), ("'7200'", 7_200), ("604800", 604_800)] {
                let age = mapping(&format!("{name} = {text}")).maximum_record_age;
                assert_eq!(age, Some(Duration::from_secs(seconds)), "{name} {text}");
            }
            for none in ["-1", "'-1'"] {
                assert_eq!(mapping(&format!("{name} = {none}")).maximum_record_age, None, "{name} {none}");
            }
            for wrong in ["0", "59", "604801", "'59999ms'", "-2"] {
                let said = problems(&format!("{name} = {wrong}"));
                assert!(said.contains("maximum_record_age") && said.contains("60s to 604800s"), "{said}");
            }
        }
        assert_eq!(mapping("maximum_record_age = '2h'").maximum_record_age, Some(Duration::from_secs(7_200)));
        let twice = problems("maximum_record_age = 60\nmaximum_record_age_in_seconds = 60");
        assert!(twice.contains("maximum_record_age_in_seconds: found a second name"), "{twice}");
    }

    #[test]
    fn response_types_and_bisecting_are_off_unless_asked_for() {
        let plain = mapping("");
        assert!(!plain.report_batch_item_failures && !plain.bisect_batch_on_function_error);
        for on in ["['ReportBatchItemFailures']", "'ReportBatchItemFailures'"] {
            assert!(mapping(&format!("function_response_types = {on}")).report_batch_item_failures);
        }
        for off in ["[]", "''", "'none'"] {
            assert!(!mapping(&format!("function_response_types = {off}")).report_batch_item_failures);
        }
        for wrong in ["'reportBatchItemFailures'", "['ReportBatchItemFailures', 'ReportBatchItemFailures']"] {
            let said = problems(&format!("function_response_types = {wrong}"));
            assert!(said.contains("function_response_types: found"), "{said}");
        }
        assert!(mapping("bisect_batch_on_function_error = true").bisect_batch_on_function_error);
    }

    #[test]
    fn the_backoff_ends_above_where_it_begins() {
        let engine = mapping("").engine;
        assert_eq!(
            (engine.retry_backoff, engine.retry_backoff_max),
            (Duration::from_millis(500), Duration::from_secs(60))
        );
        let engine = mapping("[engine]\nretry_backoff = '10ms'\nretry_backoff_max = '10ms'").engine;
        assert_eq!(engine.retry_backoff, engine.retry_backoff_max);
        let said = problems("[engine]\nretry_backoff = '2s'\nretry_backoff_max = '1s'");
        assert!(
            said.contains("engine.retry_backoff_max: found 1s, below engine.retry_backoff (2s)"),
            "{said}"
        );
        for (name, wrong) in
            [("retry_backoff", "'9ms'"), ("retry_backoff", "61"), ("retry_backoff_max", "3601")]
        {
            let said = problems(&format!("[engine]\n{name} = {wrong}"));
            assert!(said.contains(&format!("engine.{name}: found")), "{said}");
        }
    }

    #[test]
    fn what_was_settled_about_failures_is_explained_and_read_again() {
        let toml = format!(
            "destination_config = '{QUEUE}'\nmaximum_record_age = '1h'\nbisect_batch_on_function_error = true\n\
             function_response_types = 'ReportBatchItemFailures'"
        );
        let mapping = mapping(&toml);
        let text = explain(&mapping, &crate::mapping::Origins::default());
        for expected in [
            &format!("destination_config            {QUEUE}"),
            "maximum_retry_attempts        10                               (AWS's limit with a destination)",
            "maximum_record_age            60m ",
            "bisect_batch_on_function_error true ",
            "function_response_types       ReportBatchItemFailures ",
        ] {
            assert!(text.contains(expected), "{expected}\n---\n{text}");
        }
        let again = mapping.settings().validate(&Nothing).expect("still valid");
        assert_eq!(again.settings(), mapping.settings());
    }
}
