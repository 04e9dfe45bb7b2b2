//! New settings and certificates for a node that runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use super::folder::Folder;
use super::running::Running;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where a running node's settings come from, and when they were last like this.
#[derive(Debug)]
pub(super) struct Source {
    folder: PathBuf,
    overrides: Vec<(String, String)>,
    /// The settings files and the certificate's, with the times they were written.
    watched: Vec<(PathBuf, Option<SystemTime>)>,
    next_look: Instant,
}

impl Source {
    pub(super) fn new(path: &Path, folder: &Folder, overrides: &[(String, String)]) -> Self {
        Self {
            folder: path.to_owned(),
            overrides: overrides.to_vec(),
            watched: folder.files().into_iter().map(dated).collect(),
            next_look: Instant::now() + LOOK_INTERVAL,
        }
    }

    /// Reads the folder again and hands the node what it says; a folder that cannot be used changes
    /// nothing.
    pub(super) fn reload(&mut self, node: &mut Running) {
        // Before they are read: what is written meanwhile is seen at the next look.
        for (file, written) in &mut self.watched {
            *written = time(file);
        }
        let read = Folder::read(&self.folder, &self.overrides).and_then(|folder| {
            for warning in folder.warnings() {
                warn!("{}", warning.0);
            }
            let files = folder.files();
            let reloaded = folder.plan().and_then(|plan| node.reload(plan));
            reloaded.map(|()| files)
        });
        match read {
            Ok(files) => {
                self.watched.retain(|(file, _)| files.contains(file));
                let is_new = |file: &PathBuf| self.watched.iter().all(|(known, _)| known != file);
                let new: Vec<_> = files.into_iter().filter(is_new).map(dated).collect();
                self.watched.extend(new);
                info!("the new settings are in force");
            }
            Err(problem) => {
                error!("the new settings are refused, the old ones stay: {problem}");
                node.keep(&problem.to_string());
            }
        }
    }

    /// Reloads when a file changed. One that is half written fails once, not at every look.
    pub(super) fn look(&mut self, node: &mut Running) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_INTERVAL;
        if self.watched.iter().any(|(file, written)| time(file) != *written) {
            info!("files changed, and are read again");
            self.reload(node);
        }
    }
}

fn dated(file: PathBuf) -> (PathBuf, Option<SystemTime>) {
    let written = time(&file);
    (file, written)
}

fn time(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
