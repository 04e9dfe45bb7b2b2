//! The names in `codecs`, and which of them WebRTC has.

use super::diagnostics::{SettingsError, Warning, quoted};
use super::spelling;
use super::values::{Value, Values};

/// Codecs that browsers send over WebRTC.
const WEBRTC: [&str; 8] = ["opus", "alaw", "ulaw", "g722", "h264", "vp8", "vp9", "av1"];

/// Codecs of other protocols. Configurations written for Web Call Server list them.
const OTHERS: [&str; 11] = [
    "aac",
    "flv",
    "g729",
    "h263",
    "h265",
    "mp3",
    "mpeg4-generic",
    "mpv",
    "speex",
    "speex16",
    "telephone-event",
];

/// Reads `codecs` less `codecs_exclude_streaming`: names of [`WEBRTC`], each once, best first.
pub(super) fn read(
    values: &Values,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<String>, SettingsError> {
    let wanted = values.get("codecs");
    let excluded = names(&values.get("codecs_exclude_streaming"), warnings);
    let mut codecs = Vec::new();
    for name in names(&wanted, warnings) {
        if !excluded.contains(&name) && !codecs.contains(&name) {
            codecs.push(name);
        }
    }
    if codecs.is_empty() {
        let known = WEBRTC.join(", ");
        return Err(wanted.expected(&format!(
            "at least one of {known} that codecs_exclude_streaming does not name"
        )));
    }
    Ok(codecs)
}

/// The WebRTC codecs that a value names; names that nobody knows draw a warning.
fn names(value: &Value<'_>, warnings: &mut Vec<Warning>) -> Vec<String> {
    let mut names = Vec::new();
    for written in value.list() {
        let name = match written.to_ascii_lowercase().as_str() {
            "pcma" => "alaw".to_owned(),
            "pcmu" => "ulaw".to_owned(),
            name => name.to_owned(),
        };
        if WEBRTC.contains(&name.as_str()) {
            names.push(name);
        } else if !OTHERS.contains(&name.as_str()) {
            let hint = match spelling::nearest(&name, WEBRTC.into_iter()) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            let name = quoted(written);
            warnings.push(value.place.warning(format!("unknown codec {name}, ignored{hint}")));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(codecs: &str, excluded: &str) -> (Result<Vec<String>, SettingsError>, Vec<Warning>) {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let overrides = [set("codecs", codecs), set("codecs_exclude_streaming", excluded)];
        let mut warnings = Vec::new();
        let values = Values::collect(Vec::new(), &overrides, &mut warnings);
        (read(&values, &mut warnings), warnings)
    }

    #[test]
    fn the_order_is_kept_and_each_comes_once() {
        let (names, warnings) = codecs(" OPUS , vp8, PCMA,alaw, g722,, vp8", "");
        assert_eq!(names.unwrap(), ["opus", "vp8", "alaw", "g722"]);
        assert_eq!(warnings, []);
    }

    #[test]
    fn excluded_and_foreign_codecs_are_left_out_silently() {
        let (names, warnings) = codecs("opus,mpeg4-generic,h264,vp8,flv,mpv,PCMU", "ULAW,h264,flv");
        assert_eq!(names.unwrap(), ["opus", "vp8"]);
        assert_eq!(warnings, []);
    }

    #[test]
    fn a_name_that_nobody_knows_draws_a_warning() {
        let (names, warnings) = codecs("opus,vp08", "zzzzzz");
        assert_eq!(names.unwrap(), ["opus"]);
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "--set codecs_exclude_streaming: unknown codec \"zzzzzz\", ignored",
                "--set codecs: unknown codec \"vp08\", ignored; did you mean vp8?",
            ]
        );
    }

    #[test]
    fn no_codec_at_all_is_an_error() {
        for (wanted, excluded) in [("", ""), ("mpv", ""), ("opus,vp8", "vp8,opus")] {
            let error = codecs(wanted, excluded).0.unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "--set codecs: expected at least one of opus, alaw, ulaw, g722, h264, vp8, \
                     vp9, av1 that codecs_exclude_streaming does not name, found {wanted:?}"
                )
            );
        }
    }
}
