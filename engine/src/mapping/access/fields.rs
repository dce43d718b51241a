//! The fields of a secret, as AWS keeps it: a JSON object of texts.

use serde_json::{Map, Value};

use super::OAuthGrant;
use crate::mapping::problem::Problem;
use crate::mapping::secret::Secret;

/// A secret's fields. Messages name the field and never repeat a value.
pub(super) struct Fields {
    pub(super) kind: String,
    pub(super) object: Map<String, Value>,
}

impl Fields {
    fn path(&self, name: &str) -> String {
        format!("source_access {} secret {name}", self.kind)
    }

    /// A text that may be missing; an empty one counts as missing.
    pub(super) fn optional(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        match self.object.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => (!text.is_empty()).then_some(text),
            Some(_) => {
                problems.push(Problem::wrong(self.path(name), "another kind of value", "a text", "quote it"));
                None
            }
        }
    }

    pub(super) fn required(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let before = problems.len();
        let text = self.optional(name, problems);
        if text.is_none() && problems.len() == before {
            problems.push(Problem::missing(
                self.path(name),
                "a text that is not empty",
                "add it to the secret",
            ));
        }
        text
    }

    /// A text in PEM with a block of this kind.
    pub(super) fn pem(&mut self, name: &str, block: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let text = self.required(name, problems)?;
        let begins = text.contains("-----BEGIN ") && text.contains(&format!("{block}-----"));
        if !begins {
            let allowed = format!("PEM with -----BEGIN ... {block}-----");
            let remedy = "keep the line breaks (\\n in JSON)";
            problems.push(Problem::wrong(self.path(name), "something else", allowed, remedy));
        }
        begins.then_some(text)
    }

    pub(super) fn seconds(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<u32> {
        let value = self.object.remove(name)?;
        let seconds = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        if seconds.is_none() {
            problems.push(Problem::wrong(
                self.path(name),
                &value,
                "whole seconds from 1",
                "correct or remove it",
            ));
        }
        seconds
    }

    pub(super) fn grant(&mut self, problems: &mut Vec<Problem>) -> Option<OAuthGrant> {
        let secret = self.object.contains_key("oauthClientSecret");
        let bearer =
            self.object.contains_key("oauthClientEmail") || self.object.contains_key("oauthPrivateKey");
        match (secret, bearer) {
            (true, false) => self
                .required("oauthClientSecret", problems)
                .map(|secret| OAuthGrant::ClientSecret(Secret::new(secret))),
            (false, true) => {
                let client_email = self.required("oauthClientEmail", problems);
                let private_key = self.pem("oauthPrivateKey", "PRIVATE KEY", problems).map(Secret::new);
                Some(OAuthGrant::JwtBearer { client_email: client_email?, private_key: private_key? })
            }
            (found_both, _) => {
                let found =
                    if found_both { "the fields of both grants" } else { "the fields of neither grant" };
                let allowed = "either oauthClientSecret, or oauthClientEmail and oauthPrivateKey";
                problems.push(Problem::wrong(
                    self.path("grant"),
                    found,
                    allowed,
                    "keep the fields of one grant",
                ));
                None
            }
        }
    }
}
