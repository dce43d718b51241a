//! Mappings for tests: what is required, and the lines of the test.

use crate::mapping::{Mapping, MappingError, Nothing, Settings};

fn settings(toml: &str) -> Result<Mapping, MappingError> {
    let required = "topics = 't'\nbootstrap_servers = 'b:1'\nfunction = 'f'\nfunction_endpoint = 'http://localhost:9001'\n";
    Settings::from_toml(&format!("{required}{toml}"))?.validate(&Nothing)
}

/// The mapping, which must be valid.
pub(super) fn mapping(toml: &str) -> Mapping {
    settings(toml).unwrap_or_else(|error| panic!("{error}\n---\n{toml}"))
}

/// What is wrong with it, which must be something.
pub(super) fn problems(toml: &str) -> String {
    settings(toml).expect_err("must be refused").to_string()
}
