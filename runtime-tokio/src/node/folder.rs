//! The folder in which an operator says what a node is.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use distributary_core::Pages;
use distributary_core::config::{Config, Settings, SettingsFiles, TlsIdentity, Warning};
use tracing::warn;

use super::certificate;
use super::error::StartError;
use super::plan::Plan;

pub(super) const PROPERTIES_FILE: &str = "flashphoner.properties";
pub(super) const BALANCING_FILE: &str = "loadbalancing.xml";
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;

/// The pages are kept in memory, so a `client_dir` that is not one by mistake must end somewhere.
const PAGES_MAX: usize = 5_000;
const PAGES_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A folder whose settings were read and understood.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    settings: Settings,
    warnings: Vec<Warning>,
}

impl Folder {
    /// Reads `flashphoner.properties` and, where there is one, `loadbalancing.xml`.
    ///
    /// `overrides` are properties that count instead of what the file says.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a file cannot be read or a setting not be used.
    pub fn read(path: &Path, overrides: &[(String, String)]) -> Result<Self, StartError> {
        if !path.is_dir() {
            let what = if path.exists() { "this is no folder" } else { "there is no such folder" };
            let problem = format!("{what}; expected the one that holds {PROPERTIES_FILE}");
            return Err(StartError::File { path: path.to_owned(), problem });
        }
        let properties_path = path.join(PROPERTIES_FILE);
        if !properties_path.exists() {
            let problem = "there is no such file; an empty one gives every key its default";
            return Err(StartError::File { path: properties_path, problem: problem.to_owned() });
        }
        let properties = read_text(&properties_path)?;
        let balancing_path = path.join(BALANCING_FILE);
        let balancing =
            if balancing_path.exists() { Some(read_text(&balancing_path)?) } else { None };
        let files = SettingsFiles { properties: &properties, balancing: balancing.as_deref() };
        let (settings, warnings) = Settings::parse(files, overrides)?;
        Ok(Self { path: path.to_owned(), settings, warnings })
    }

    /// What an operator should know about the settings.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Both settings files, there or not, and those that `tls.cert` and `tls.key` name.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let certificate = self.settings.tls_files.iter().flat_map(|(cert, key)| [cert, key]);
        let settings = [PROPERTIES_FILE, BALANCING_FILE].map(|name| self.path.join(name));
        settings.into_iter().chain(certificate.map(|file| self.path.join(file))).collect()
    }

    /// Reads everything that a start would read, and writes nothing.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a file that the settings name cannot be used.
    pub fn check(&self) -> Result<(), StartError> {
        self.pages()?;
        self.link_roots()?;
        self.hook_roots()?;
        self.certificate()?;
        Ok(())
    }

    /// Makes a plan of it: reads the pages and certificates that the settings name, and makes a
    /// certificate where they name none.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a file cannot be used or a certificate not be made.
    pub fn plan(self) -> Result<Plan, StartError> {
        self.plan_with(None)
    }

    /// The same for a node that runs: a certificate that it made itself stays as long as it does,
    /// for others may know its fingerprint.
    pub(super) fn plan_after(self, before: &Config) -> Result<Plan, StartError> {
        let has_own = before.settings.tls_files.is_none();
        self.plan_with(has_own.then(|| before.tls.clone()))
    }

    fn plan_with(self, made: Option<TlsIdentity>) -> Result<Plan, StartError> {
        let tls = match self.certificate()?.or(made) {
            Some(identity) => identity,
            None => certificate::keep(&self.path)?,
        };
        let pages = self.pages()?;
        let (link_roots, hook_roots) = (self.link_roots()?, self.hook_roots()?);
        Ok(Plan { pages, link_roots, hook_roots, ..Plan::new(self.settings, tls)? })
    }

    fn pages(&self) -> Result<Pages, StartError> {
        match &self.settings.client_dir {
            Some(folder) => {
                let folder = self.path.join(folder);
                let pages = read_pages(&folder).map_err(named_by("client_dir"))?;
                if pages.is_empty() {
                    warn!("{} holds no pages; see client_dir", folder.display());
                }
                Ok(Pages::from_files(pages))
            }
            None => Ok(Pages::built_in()),
        }
    }

    /// What `tls.cert` and `tls.key` name; `None` if they are not set.
    fn certificate(&self) -> Result<Option<TlsIdentity>, StartError> {
        let Some((certificate, key)) = &self.settings.tls_files else { return Ok(None) };
        certificate::load(&self.path.join(certificate), &self.path.join(key))
            .map(Some)
            .map_err(named_by("tls.cert and tls.key"))
    }

    /// `cdn_ca` if it is set, else what the system trusts; nothing on a node without edges.
    fn link_roots(&self) -> Result<Vec<Vec<u8>>, StartError> {
        let needed = self.settings.balancing.is_some();
        self.authorities("cdn_ca", self.settings.cdn_ca.as_deref(), needed)
    }

    /// `auth.hook.ca` if it is set, else what the system trusts; nothing where nobody is asked.
    fn hook_roots(&self) -> Result<Vec<Vec<u8>>, StartError> {
        let hook = self.settings.access.hook.as_ref();
        let file = hook.and_then(|hook| hook.ca.as_deref());
        self.authorities("auth.hook.ca", file, hook.is_some_and(|hook| hook.secure))
    }

    fn authorities(
        &self,
        key: &'static str,
        file: Option<&Path>,
        needed: bool,
    ) -> Result<Vec<Vec<u8>>, StartError> {
        if let Some(file) = file {
            let found = certificate::authorities(&self.path.join(file));
            return found.map_err(named_by(key));
        }
        if !needed {
            return Ok(Vec::new());
        }
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            warn!("an authority that the system trusts cannot be read: {error}");
        }
        Ok(found.certs.into_iter().map(|der| der.to_vec()).collect())
    }
}

/// Adds to a problem with a file which settings name that file.
fn named_by(keys: &'static str) -> impl Fn(StartError) -> StartError {
    move |error| {
        if let StartError::File { path, problem } = error {
            StartError::File { path, problem: format!("{problem}; see {keys}") }
        } else {
            error
        }
    }
}

/// Reads a file of at most `bytes_max` bytes.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, StartError> {
    let problem = |problem| StartError::File { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|error| problem(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| problem(error.to_string()))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= bytes_max) {
        Ok(bytes)
    } else {
        Err(problem(format!("larger than the {bytes_max} bytes that are read of it")))
    }
}

fn read_text(path: &Path) -> Result<String, StartError> {
    String::from_utf8(read_bounded(path, SETTINGS_BYTES_MAX)?)
        .map_err(|_| StartError::File { path: path.to_owned(), problem: "not UTF-8".to_owned() })
}

/// Reads the files below `folder`, each with its path under `client2/`.
///
/// What begins with a dot stays out: such files are the tools', not the pages'. So do links to
/// folders and links that leave `folder`.
fn read_pages(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, StartError> {
    let unreadable = |path: &Path, error: std::io::Error| StartError::File {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let too_much = |what: String| StartError::File { path: folder.to_owned(), problem: what };
    let root = folder.canonicalize().map_err(|error| unreadable(folder, error))?;
    let mut folders = vec![(root.clone(), "client2".to_owned())];
    let mut pages = Vec::new();
    let mut bytes_left = PAGES_BYTES_MAX;
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
            let entry = entry.map_err(|error| unreadable(&folder, error))?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let kind = entry.file_type().map_err(|error| unreadable(&path, error))?;
            let page_path = format!("{prefix}/{name}");
            if kind.is_dir() {
                folders.push((path, page_path));
                continue;
            }
            let target = path.canonicalize().map_err(|error| unreadable(&path, error))?;
            if !target.starts_with(&root) || !target.is_file() {
                warn!("{} is not served: it is a link to a folder or to outside", path.display());
                continue;
            }
            if pages.len() == PAGES_MAX {
                return Err(too_much(format!("holds more than {PAGES_MAX} files")));
            }
            let length = fs::metadata(&target).map_err(|error| unreadable(&path, error))?.len();
            bytes_left = bytes_left
                .checked_sub(length)
                .ok_or_else(|| too_much(format!("holds more than {PAGES_BYTES_MAX} bytes")))?;
            pages.push((page_path, read_bounded(&target, length)?));
        }
    }
    Ok(pages)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An empty folder of the test's own.
    pub(in crate::node) fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("distributary-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn pages_keep_their_paths_and_stay_inside() {
        let outside = scratch("pages-outside");
        fs::write(outside.join("secret.txt"), "secret").unwrap();
        let folder = scratch("pages");
        fs::create_dir_all(folder.join("examples/demo")).unwrap();
        fs::write(folder.join("examples/demo/a.html"), "page").unwrap();
        fs::write(folder.join(".env"), "hidden").unwrap();
        std::os::unix::fs::symlink(outside.join("secret.txt"), folder.join("link.txt")).unwrap();
        std::os::unix::fs::symlink(&folder, folder.join("again")).unwrap();
        std::os::unix::fs::symlink("examples/demo/a.html", folder.join("b.html")).unwrap();
        let mut pages = read_pages(&folder).unwrap();
        pages.sort();
        assert_eq!(
            pages,
            [
                ("client2/b.html".to_owned(), b"page".to_vec()),
                ("client2/examples/demo/a.html".to_owned(), b"page".to_vec()),
            ]
        );
    }

    #[test]
    fn a_folder_without_properties_is_named() {
        let folder = scratch("empty");
        let error = Folder::read(&folder, &[]).unwrap_err().to_string();
        assert!(error.contains("flashphoner.properties: there is no such file"), "{error}");
        fs::write(folder.join(PROPERTIES_FILE), "").unwrap();
        let error = Folder::read(&folder.join(PROPERTIES_FILE), &[]).unwrap_err().to_string();
        assert!(error.contains("this is no folder"), "{error}");
        let error = Folder::read(&folder.join("none"), &[]).unwrap_err().to_string();
        assert!(error.contains("there is no such folder"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_keys() {
        let folder = scratch("named");
        fs::write(folder.join(PROPERTIES_FILE), "tls.cert=a.pem\ntls.key=b.pem\n").unwrap();
        let check = |key: &str| {
            let overrides = [(key.to_owned(), "none".to_owned())];
            Folder::read(&folder, &overrides).unwrap().check().unwrap_err().to_string()
        };
        assert!(check("client_dir").ends_with("see client_dir"));
        assert!(check("cdn_ca").ends_with("see cdn_ca"));
        assert!(check("tls.cert").ends_with("see tls.cert and tls.key"));
    }

    #[test]
    fn too_many_pages_are_refused() {
        let folder = scratch("pages-many");
        for number in 0..=PAGES_MAX {
            fs::write(folder.join(format!("{number}.txt")), "").unwrap();
        }
        let error = read_pages(&folder).unwrap_err().to_string();
        assert!(error.contains("more than 5000 files"), "{error}");
    }
}
