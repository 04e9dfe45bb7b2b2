//! Which value counts for a key, and how one value is read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostics::{Place, SettingsError, Warning, quoted};
use super::keys::{Effect, KEYS, Key};
use super::properties::Property;
use super::settings::Port;
use super::spelling;

/// The longest time that a setting may name: a day.
const TIME_MS_MAX: u64 = 86_400_000;

/// The value that counts for each key that was written.
#[derive(Debug)]
pub(super) struct Values {
    written: BTreeMap<&'static str, Property>,
}

/// The value that counts for one key: the one written last, or the default.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    /// Without white space around it.
    pub(super) text: &'a str,
    /// Where it was written; line 0 of the file for a default.
    pub(super) place: Place,
    /// Whether it was written at all.
    pub(super) written: bool,
}

impl Values {
    /// Sorts out what was written: `overrides` win over the file and the last one wins over those
    /// before it. Warns of keys that are unknown, written twice, or without effect.
    pub(super) fn collect(
        properties: Vec<Property>,
        overrides: &[(String, String)],
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let mut written = collect_once(properties, warnings);
        let overrides = overrides.iter().map(|(key, value)| Property {
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
            place: Place::set(key.trim()),
        });
        written.extend(collect_once(overrides, warnings));
        for (name, property) in &written {
            let effect = Key::named(name).map(|key| key.effect);
            if let Some(Effect::NoEffect(why)) = effect
                && !(*name == "rtmp.port" && is_off(&property.value))
            {
                warnings.push(property.place.warning(format!("no effect: {why}")));
            }
        }
        Self { written }
    }

    /// The value that counts for a key of [`KEYS`].
    pub(super) fn get(&self, name: &str) -> Value<'_> {
        match self.written.get(name) {
            Some(property) => {
                Value { text: &property.value, place: property.place.clone(), written: true }
            }
            None => Value {
                text: Key::named(name).expect("only keys of the table are asked for").default,
                place: Place::property(0, name),
                written: false,
            },
        }
    }
}

impl<'a> Value<'a> {
    /// The error for a value that is not what was expected.
    pub(super) fn expected(&self, what: &str) -> SettingsError {
        self.place.error(format!("expected {what}, found {}", quoted(self.text)))
    }

    /// `true` or `false`, in any letter case.
    pub(super) fn flag(&self) -> Result<bool, SettingsError> {
        flag(self.text).ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Result<u64, SettingsError> {
        number(self.text).filter(|number| range.contains(number)).ok_or_else(|| {
            self.expected(&format!("a number from {} to {}", range.start(), range.end()))
        })
    }

    /// A number of milliseconds, `least` or more, up to a day.
    pub(super) fn millis(&self, least: u64) -> Result<Duration, SettingsError> {
        number(self.text)
            .filter(|millis| (least..=TIME_MS_MAX).contains(millis))
            .map(Duration::from_millis)
            .ok_or_else(|| {
                self.expected(&format!("a number of milliseconds from {least} to {TIME_MS_MAX}"))
            })
    }

    /// A port, `0` or `off`.
    pub(super) fn port(&self) -> Result<Port, SettingsError> {
        if is_off(self.text) {
            return Ok(Port::Off);
        }
        let number = number(self.text).and_then(|number| u16::try_from(number).ok());
        match number {
            Some(number) => Ok(NonZeroU16::new(number).map_or(Port::Any, Port::Number)),
            None => Err(self.expected("a port from 1 to 65535, 0 (pick a free one) or off")),
        }
    }

    /// Addresses that a socket can have, each once, in the order written. IPv4 in IPv6 notation
    /// (`::ffff:192.0.2.1`) is IPv4.
    pub(super) fn addresses(&self) -> Result<Vec<IpAddr>, SettingsError> {
        let mut addresses = Vec::new();
        for text in self.list() {
            match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
                Ok(address) if !address.is_multicast() => {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                Ok(_) | Err(_) => {
                    return Err(self.expected("IPv4 or IPv6 addresses with commas between them"));
                }
            }
        }
        Ok(addresses)
    }

    /// A path; `None` for an empty value.
    pub(super) fn path(&self) -> Result<Option<PathBuf>, SettingsError> {
        match self.text {
            "" => Ok(None),
            text if text.contains('\0') => Err(self.expected("a path")),
            text => Ok(Some(PathBuf::from(text))),
        }
    }

    /// The parts between commas, without white space around them and without empty ones.
    pub(super) fn list(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split(',').map(str::trim).filter(|part| !part.is_empty())
    }
}

/// Reads `true` or `false`, in any letter case.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Reads decimal digits and nothing else.
pub(super) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_off(text: &str) -> bool {
    text.eq_ignore_ascii_case("off")
}

fn collect_once(
    properties: impl IntoIterator<Item = Property>,
    warnings: &mut Vec<Warning>,
) -> BTreeMap<&'static str, Property> {
    let mut written: BTreeMap<&'static str, Property> = BTreeMap::new();
    for property in properties {
        let Some(key) = Key::named(&property.key) else {
            warnings.push(unknown(&property));
            continue;
        };
        let place = property.place.clone();
        if let Some(before) = written.insert(key.name, property) {
            let before = before.place;
            warnings.push(place.warning(format!("written before, at {before}; the last counts")));
        }
    }
    written
}

fn unknown(property: &Property) -> Warning {
    let names = KEYS.iter().map(|key| key.name);
    property.place.warning(match spelling::nearest(&property.key, names) {
        Some(name) => format!("unknown key, ignored; did you mean {name}?"),
        None => "unknown key, ignored".to_owned(),
    })
}
