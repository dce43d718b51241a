//! A mapping's file: any text.

use pelton::mapping::{Nothing, Origins, Settings, explain};

/// Text that is a file of settings is read or refused with words, as TOML and as JSON; what is valid can
/// be explained, and means the same when its explanation's settings are read again.
///
/// # Panics
/// If not.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for read in [Settings::from_toml(text), Settings::from_json(text)] {
        match read.and_then(|settings| settings.validate(&Nothing)) {
            Err(error) => assert!(error.to_string().contains(": "), "a problem names its field: {error}"),
            Ok(mapping) => {
                assert!(explain(&mapping, &Origins::default()).contains("topics"));
                let again = mapping.settings().validate(&Nothing).expect("what is valid stays so");
                assert_eq!(again.settings(), mapping.settings());
            }
        }
    }
}
