//! How many connections the process may have open.

use distributary_core::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Raises the limit of open files as far as the process may: what it is started with is commonly
/// 1024, which a single host could use up. Warns if that is still less than what is let in.
pub(super) fn make_room(shards: usize, limits: &Limits) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(may) => {
            if let Some(shortage) = shortage(may, shards, limits) {
                warn!("{shortage}");
            }
        }
        Err(error) => warn!("cannot raise the limit of open files: {error}"),
    }
}

fn shortage(may: u64, shards: usize, limits: &Limits) -> Option<String> {
    let wanted = u64::try_from(limits.connections_max.saturating_mul(shards)).unwrap_or(u64::MAX);
    (may < wanted).then(|| {
        format!(
            "the process may have {may} files open, which is less than the {wanted} connections \
             that it takes; raise it with: ulimit -Hn, or LimitNOFILE= of its service"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_is_let_in_draws_a_warning() {
        let limits = Limits { connections_max: 1_000, ..Limits::default() };
        assert_eq!(shortage(3_000, 3, &limits), None);
        assert_eq!(shortage(u64::MAX, 3, &limits), None);
        let warning = shortage(2_999, 3, &limits).unwrap();
        assert!(warning.contains("2999 files") && warning.contains("3000 conn"), "{warning}");
    }
}
