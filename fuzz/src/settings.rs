//! The two settings files.

use distributary_core::config::{Settings, SettingsFiles};

/// Reads the two settings files: the bytes up to the first NUL, and those after it, if any.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (properties, balancing) = match text.split_once('\0') {
        Some((properties, balancing)) => (properties, Some(balancing)),
        None => (&*text, None),
    };
    let files = SettingsFiles { properties, balancing };
    match Settings::parse(files, &[]) {
        Ok((settings, _)) => {
            let again = Settings::parse(files, &[]).expect("what was fine stays so");
            assert_eq!(format!("{settings:?}"), format!("{:?}", again.0), "one text, two meanings");
        }
        Err(error) => {
            // A lone carriage return ends a line too, as in Java's properties.
            let lines = 1 + text.matches(['\r', '\n']).count();
            assert!(error.line <= lines, "{error} is beyond the end");
            assert!(!error.problem.is_empty(), "an error says what is wrong");
        }
    }
}
