//! New settings and certificates for a node that runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use super::folder::Folder;
use super::running::Running;

/// How often the certificate's files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where a running node's settings come from, and when they were last like this.
#[derive(Debug)]
pub(super) struct Source {
    folder: PathBuf,
    overrides: Vec<(String, String)>,
    /// `tls.cert` and `tls.key`, with the times they were written.
    watched: Vec<(PathBuf, Option<SystemTime>)>,
    next_look: Instant,
}

impl Source {
    pub(super) fn new(path: &Path, folder: &Folder, overrides: &[(String, String)]) -> Self {
        let watched =
            folder.certificate_files().into_iter().map(|file| (file.clone(), time(&file)));
        Self {
            folder: path.to_owned(),
            overrides: overrides.to_vec(),
            watched: watched.collect(),
            next_look: Instant::now() + LOOK_INTERVAL,
        }
    }

    /// Reads the folder again and hands the node what it says; a folder that cannot be used changes
    /// nothing.
    pub(super) fn reload(&mut self, node: &mut Running) {
        let read = Folder::read(&self.folder, &self.overrides).and_then(|folder| {
            for warning in folder.warnings() {
                warn!("{}", warning.0);
            }
            let watched = folder.certificate_files();
            let reloaded = folder.plan().and_then(|plan| node.reload(plan));
            reloaded.map(|()| watched)
        });
        match read {
            Ok(watched) => {
                self.watched =
                    watched.into_iter().map(|file| (file.clone(), time(&file))).collect();
                info!("the new settings are in force");
            }
            Err(problem) => error!("the new settings are refused, the old ones stay: {problem}"),
        }
    }

    /// Reloads when a certificate's files changed.
    pub(super) fn look(&mut self, node: &mut Running) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_INTERVAL;
        let changed: Vec<_> = self.watched.iter().map(|(file, _)| time(file)).collect();
        if self.watched.iter().zip(&changed).any(|((_, before), now)| before != now) {
            // Noted first: a pair that is half written fails once, not at every look.
            for ((_, before), now) in self.watched.iter_mut().zip(changed) {
                *before = now;
            }
            info!("the certificate's files changed");
            self.reload(node);
        }
    }
}

fn time(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
