//! A copy of the checkout, which may be broken without harm.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Error, Result};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The copy. Files keep their age from run to run where they did not change, so that little has
/// to be built again.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes the copy of this checkout, or brings it up to date: everything that git tracks, and
    /// what is new and not ignored.
    ///
    /// # Errors
    ///
    /// If this is no checkout of git's, or a file cannot be copied.
    pub fn of_checkout() -> Result<Self> {
        let checkout = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let tree = Self { root: checkout.join("target/mutants/tree") };
        let files = files_of(checkout)?;
        fs::create_dir_all(&tree.root)?;
        for stray in walk(&tree.root)?.difference(&files) {
            fs::remove_file(tree.root.join(stray))?;
        }
        for file in &files {
            let (from, to) = (checkout.join(file), tree.root.join(file));
            let text = fs::read(&from)?;
            if fs::read(&to).is_ok_and(|copy| copy == text) {
                continue;
            }
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            // Copied with its rights: scripts are run.
            fs::copy(&from, &to)?;
        }
        Ok(tree)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where it is built, beside it.
    pub fn target(&self) -> PathBuf {
        self.root.with_file_name("target")
    }

    /// What a file says.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.root.join(file))
    }

    /// Has a file say something else.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.root.join(file), text)
    }
}

fn files_of(checkout: &Path) -> Result<BTreeSet<PathBuf>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(checkout)
        .output()?;
    if !listing.status.success() {
        return Err(Error::other(String::from_utf8_lossy(&listing.stderr).into_owned()));
    }
    let names = listing.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(OsString::from_vec(name.to_vec())));
    // What was deleted and not committed yet is still listed.
    Ok(paths.filter(|path| checkout.join(path).is_file()).collect())
}

fn walk(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(path) = path.strip_prefix(root) {
                files.insert(path.to_owned());
            }
        }
    }
    Ok(files)
}
