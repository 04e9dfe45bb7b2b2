//! New settings and certificates for a node that runs.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::error::StartError;
use super::folder::{BALANCING_FILE, Folder, PROPERTIES_FILE};
use super::running::Running;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// After how long files that were refused are read again although nobody wrote them: what was in
/// their way may have been something else.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Where a running node's settings come from, and what the files were like when they were read.
#[derive(Debug)]
pub(super) struct Source {
    folder: PathBuf,
    overrides: Vec<(String, String)>,
    /// The settings files and the certificate's, as they were read last.
    read: Files,
    /// The same as they were at the last look, if they had changed. Nobody writes them any more
    /// once they are like that at the next one too.
    settling: Option<Files>,
    /// Whether the properties in force are any.
    has_properties: bool,
    /// When what was refused is due again.
    retry: Option<Instant>,
    next_look: Instant,
}

/// Files with what tells one state of each from the next; `None`: it is not there.
type Files = BTreeMap<PathBuf, Option<Stamp>>;

/// Times alone are not enough: they may come with a file that is copied, and those of two writes
/// may be the same. The time of change also tells that its mode or owner did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Source {
    /// Reads the folder for the first time.
    ///
    /// # Errors
    ///
    /// As [`Folder::read`].
    pub(super) fn read(
        path: &Path,
        overrides: &[(String, String)],
    ) -> Result<(Self, Folder), StartError> {
        let settings = [PROPERTIES_FILE, BALANCING_FILE].map(|name| path.join(name));
        let mut source = Self {
            folder: path.to_owned(),
            overrides: overrides.to_vec(),
            // Before they are read: what is written meanwhile is seen at the next look.
            read: settings.into_iter().map(stamped).collect(),
            settling: None,
            has_properties: false,
            retry: None,
            next_look: Instant::now() + LOOK_INTERVAL,
        };
        let folder = source.read_folder()?;
        source.has_properties = !source.lacks_properties(&source.read);
        Ok((source, folder))
    }

    /// Reads the folder again and hands the node what it says; a folder that cannot be used changes
    /// nothing.
    pub(super) fn reload(&mut self, node: &mut Running) {
        self.settling = None;
        self.read = self.stamps();
        match node.reload(|before| self.read_folder()?.plan_after(before)) {
            Ok(()) => {
                self.retry = None;
                self.has_properties = !self.lacks_properties(&self.read);
                info!("the new settings are in force");
            }
            Err(problem) => {
                // Settings are fit once a file is another, which is seen.
                let is_final = matches!(problem, StartError::Settings(_));
                self.retry = (!is_final).then(|| Instant::now() + RETRY_INTERVAL);
                error!("the new settings are refused, the old ones stay: {problem}");
            }
        }
    }

    /// Reloads once files have changed, and are not being written any more.
    pub(super) fn look(&mut self, node: &mut Running) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_INTERVAL;
        let seen = self.stamps();
        if seen == self.read {
            self.settling = None;
            self.retry(node, now);
        } else if self.settling.as_ref() != Some(&seen) {
            if self.is_cut_short(&seen) {
                error!(
                    "{PROPERTIES_FILE} is empty, as a write that broke off leaves it: the old \
                     settings stay, until it has lines, or SIGHUP says that none are meant"
                );
            }
            self.settling = Some(seen);
        } else if !self.is_cut_short(&seen) {
            info!("files changed, and are read again");
            self.reload(node);
        }
    }

    /// Reads what was refused once more, and says nothing if it is as bad as it was.
    fn retry(&mut self, node: &mut Running, now: Instant) {
        if self.retry.is_none_or(|due| now < due) {
            return;
        }
        self.retry = Some(now + RETRY_INTERVAL);
        let is_fit = Folder::read(&self.folder, &self.overrides).and_then(|folder| folder.check());
        if is_fit.is_ok() {
            info!("files that were refused are fit to use now, and are read again");
            self.reload(node);
        }
    }

    /// Reads the folder, and takes note of files that the settings name only now.
    fn read_folder(&mut self) -> Result<Folder, StartError> {
        let folder = Folder::read(&self.folder, &self.overrides)?;
        for warning in folder.warnings() {
            warn!("{}", warning.0);
        }
        let before = std::mem::take(&mut self.read);
        let known = |file: PathBuf| match before.get(&file) {
            Some(stamp) => (file, *stamp),
            None => stamped(file),
        };
        self.read = folder.files().into_iter().map(known).collect();
        Ok(folder)
    }

    fn stamps(&self) -> Files {
        self.read.keys().cloned().map(stamped).collect()
    }

    /// Whether the properties are gone. Without any, everybody may do everything.
    fn is_cut_short(&self, files: &Files) -> bool {
        self.has_properties && self.lacks_properties(files)
    }

    fn lacks_properties(&self, files: &Files) -> bool {
        let stamp = files.get(&self.folder.join(PROPERTIES_FILE)).copied().flatten();
        stamp.is_some_and(|stamp| stamp.bytes == 0)
    }
}

fn stamped(file: PathBuf) -> (PathBuf, Option<Stamp>) {
    let stamp = std::fs::metadata(&file).ok().map(|metadata| Stamp {
        file: (metadata.dev(), metadata.ino()),
        bytes: metadata.len(),
        written: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    });
    (file, stamp)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::node::{Bound, fingerprint, self_signed};

    const PROPERTIES: &str = "ip=127.0.0.1\nip_local=127.0.0.1\nws.port=off\nwss.port=off\n\
        http.port=0\nhttps.port=off\npage.port=off\nmedia_port_from=0\nshards=1\n";

    /// A folder and a node that was started from it, with sockets and without threads.
    struct Site {
        folder: PathBuf,
        source: Source,
        node: Running,
    }

    impl Site {
        fn new(name: &str) -> Self {
            let folder = format!("distributary-{}-reload-{name}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(PROPERTIES_FILE), PROPERTIES).unwrap();
            let (source, read) = Source::read(&folder, &[]).unwrap();
            let Bound { config, wishes, .. } = read.plan().unwrap().bind().unwrap();
            let node = Running::new(config, Arc::new([]), wishes).unwrap();
            Self { folder, source, node }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.join(name), text).unwrap();
        }

        /// Looks at the files, and tells whether they are as they were read last.
        fn look(&mut self) -> bool {
            self.source.next_look = Instant::now();
            self.source.look(&mut self.node);
            self.source.stamps() == self.source.read
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn files_are_read_once_nobody_writes_them_any_more() {
        let mut site = Site::new("settling");
        assert!(site.look());
        for wait in ["play.wait=1", "play.wait=10", "play.wait=100"] {
            site.write(PROPERTIES_FILE, &format!("{PROPERTIES}{wait}\n"));
            assert!(!site.look(), "somebody may be writing still");
        }
        assert!(site.look());
        assert!(site.source.retry.is_none());
    }

    #[test]
    fn an_emptied_file_is_read_if_an_operator_says_so() {
        let mut site = Site::new("emptied");
        site.write(PROPERTIES_FILE, "");
        for _ in 0..5 {
            assert!(!site.look());
        }
        site.write(BALANCING_FILE, "<loadbalancer/>");
        for _ in 0..5 {
            assert!(!site.look(), "nor with another file");
        }
        site.source.reload(&mut site.node);
        assert!(site.look());
        assert!(site.source.retry.is_none());
    }

    #[test]
    fn what_is_refused_is_read_again_when_what_it_lacks_is_there() {
        let mut site = Site::new("lacking");
        site.write(PROPERTIES_FILE, &format!("{PROPERTIES}tls.cert=a.pem\ntls.key=b.pem\n"));
        site.look();
        assert!(site.look());
        assert!(site.source.retry.is_some(), "there is no certificate");
        let other = Site::new("lacking-other");
        for (from, to) in [("distributary-cert.pem", "a.pem"), ("distributary-key.pem", "b.pem")] {
            fs::copy(other.folder.join(from), site.folder.join(to)).unwrap();
        }
        assert!(!site.look());
        assert!(site.look());
        assert!(site.source.retry.is_none());
    }

    #[test]
    fn settings_that_are_wrong_wait_for_another_file() {
        let mut site = Site::new("wrong");
        let file = format!("{PROPERTIES}play.wait=soon\n");
        site.write(PROPERTIES_FILE, &file);
        let told = site.source.read_folder().err().map(|why| why.to_string());
        assert!(told.is_some_and(|told| told.contains("play.wait")), "it cannot be used");
        site.look();
        assert!(site.look());
        assert!(site.source.retry.is_none(), "time alone does not mend it");
    }

    #[test]
    fn what_was_refused_for_a_passing_reason_is_tried_again() {
        let mut site = Site::new("passing");
        // As if the file had been fit to read all the while, and something else had not.
        site.source.retry = Some(Instant::now());
        site.look();
        assert!(site.source.retry.is_none());
    }

    #[test]
    fn a_certificate_of_its_own_making_stays_as_long_as_the_node() {
        let mut site = Site::new("certificate");
        let before = site.node.fingerprint();
        // As in a folder that cannot be written.
        for file in ["distributary-cert.pem", "distributary-key.pem"] {
            fs::remove_file(site.folder.join(file)).unwrap();
        }
        site.source.reload(&mut site.node);
        assert_eq!(site.node.fingerprint(), before);
        assert_ne!(fingerprint(&self_signed().unwrap()), before);
    }
}
