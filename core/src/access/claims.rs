//! What a token allows.

use serde::{Deserialize, Deserializer};

use super::Act;
use crate::wildcard;

/// The claims of a token that are about streams; its times are looked at elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct Claims {
    /// Patterns of names; without them every name.
    #[serde(default, deserialize_with = "written")]
    streams: Option<Vec<String>>,
    /// Without it both.
    #[serde(default, deserialize_with = "written")]
    role: Option<Roles>,
    /// Who the token is for (RFC 7519, section 4.1.2).
    #[serde(default, rename = "sub", deserialize_with = "written")]
    pub(super) subject: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
enum Roles {
    One(Role),
    Several(Vec<Role>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Publish,
    Play,
    Both,
}

impl Claims {
    pub(super) fn has_role(&self, act: Act) -> bool {
        let fits = |role: &Role| match role {
            Role::Publish => act == Act::Publish,
            Role::Play => act == Act::Play,
            Role::Both => true,
        };
        match &self.role {
            None => true,
            Some(Roles::One(role)) => fits(role),
            Some(Roles::Several(roles)) => roles.iter().any(fits),
        }
    }

    pub(super) fn covers(&self, name: &str) -> bool {
        let fits = |pattern: &String| wildcard::matches(pattern, name);
        self.streams.as_ref().is_none_or(|patterns| patterns.iter().any(fits))
    }
}

/// Reads what is written as it is: `null`, which would stand for nothing written, is a mistake of
/// whoever made the token, and is not to allow everything.
fn written<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(claims: &str) -> Option<Claims> {
        serde_json::from_str(claims).ok()
    }

    #[test]
    fn roles_are_one_or_several() {
        for (claims, publish, play) in [
            ("{}", true, true),
            (r#"{"role":"publish"}"#, true, false),
            (r#"{"role":"play"}"#, false, true),
            (r#"{"role":"both"}"#, true, true),
            (r#"{"role":["publish","play"]}"#, true, true),
            (r#"{"role":["play"]}"#, false, true),
            (r#"{"role":[]}"#, false, false),
        ] {
            let read = read(claims).expect(claims);
            assert_eq!([Act::Publish, Act::Play].map(|act| read.has_role(act)), [publish, play]);
        }
    }

    #[test]
    fn names_are_covered_by_patterns() {
        for (claims, name, expected) in [
            ("{}", "anything", true),
            (r#"{"streams":[]}"#, "a", false),
            (r#"{"streams":["a","b-*"]}"#, "a", true),
            (r#"{"streams":["a","b-*"]}"#, "b-1", true),
            (r#"{"streams":["a","b-*"]}"#, "b", false),
            (r#"{"streams":["a"]}"#, "A", false),
            (r#"{"streams":["*"]}"#, "", true),
        ] {
            assert_eq!(read(claims).expect(claims).covers(name), expected, "{claims} {name}");
        }
    }

    #[test]
    fn claims_of_another_kind_allow_nothing() {
        for claims in [
            r#"{"streams":null}"#,
            r#"{"streams":"a"}"#,
            r#"{"streams":[1]}"#,
            r#"{"role":null}"#,
            r#"{"role":"admin"}"#,
            r#"{"role":["publish","admin"]}"#,
            r#"{"role":7}"#,
            r#"{"sub":null}"#,
            r#"{"sub":7}"#,
        ] {
            assert_eq!(read(claims), None, "{claims}");
        }
    }
}
