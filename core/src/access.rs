//! Who may do what: the one place that decides.

mod admin;
mod sources;

pub(crate) use admin::may_administer;
