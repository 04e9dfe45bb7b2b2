//! A server as an operator runs it: a process, a folder of settings, and a line that says it is
//! ready.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use clap::ValueEnum;

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(2);

/// Which event loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Runtime {
    /// `distributary-mio`
    Mio,
    /// `distributary-tokio`
    Tokio,
}

impl Runtime {
    /// The name of its package and of its binary.
    pub fn package(self) -> &'static str {
        match self {
            Self::Mio => "distributary-mio",
            Self::Tokio => "distributary-tokio",
        }
    }
}

/// How much a server logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Telling {
    /// What it does by itself.
    Quiet,
    /// All that shards report, and of the rest what the developer wants.
    Usual,
    /// All that there is.
    All,
}

/// A server with a folder of its own. It ends with this value.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    options: Vec<String>,
    telling: Telling,
    child: Child,
    folder: PathBuf,
    ready: BTreeMap<String, String>,
}

impl Server {
    /// Starts a server on free ports of 127.0.0.1.
    ///
    /// `properties` are more lines of `flashphoner.properties`; `balancing` is the whole of
    /// `loadbalancing.xml`, and switches balancing on.
    ///
    /// # Errors
    ///
    /// In words, with what the server logged, if it does not get ready in time.
    pub fn start(
        runtime: Runtime,
        properties: &str,
        balancing: Option<&str>,
    ) -> Result<Self, String> {
        Self::start_from(runtime, &on_loopback(properties), balancing, &[])
    }

    /// The same with these options, and logging no more than it does by itself: what a test reads
    /// from the log costs time. It has a session of its own, see [`in_session`].
    ///
    /// # Errors
    ///
    /// As for [`Server::start`].
    pub fn start_quiet(runtime: Runtime, options: &[&str]) -> Result<Self, String> {
        Self::launch(runtime, &on_loopback(""), None, options, Telling::Quiet)
    }

    /// The same as [`Server::start`], but it logs all that it can.
    ///
    /// # Errors
    ///
    /// As for [`Server::start`].
    pub fn start_telling_all(runtime: Runtime, properties: &str) -> Result<Self, String> {
        Self::launch(runtime, &on_loopback(properties), None, &[], Telling::All)
    }

    /// The same with no options and with more properties.
    ///
    /// # Errors
    ///
    /// As for [`Server::start`].
    pub fn start_on_loopback(runtime: Runtime, properties: &str) -> Result<Self, String> {
        Self::launch(runtime, &on_loopback(properties), None, &[], Telling::Quiet)
    }

    /// The same on what the whole of `flashphoner.properties` says.
    ///
    /// # Errors
    ///
    /// As for [`Server::start`].
    pub fn start_in_session(
        runtime: Runtime,
        properties: &str,
        balancing: Option<&str>,
    ) -> Result<Self, String> {
        Self::launch(runtime, properties, balancing, &[], Telling::Quiet)
    }

    /// Starts a server with these options, on what the whole of `flashphoner.properties` says.
    ///
    /// # Errors
    ///
    /// As for [`Server::start`].
    pub fn start_from(
        runtime: Runtime,
        properties: &str,
        balancing: Option<&str>,
        options: &[&str],
    ) -> Result<Self, String> {
        Self::launch(runtime, properties, balancing, options, Telling::Usual)
    }

    fn launch(
        runtime: Runtime,
        properties: &str,
        balancing: Option<&str>,
        options: &[&str],
        telling: Telling,
    ) -> Result<Self, String> {
        let folder = new_folder().map_err(|error| error.to_string())?;
        write_settings(&folder, properties, balancing)?;
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(runtime, &folder, &options, telling)?;
        let ready = BTreeMap::new();
        let mut server = Self { runtime, options, telling, child, folder, ready };
        server.get_ready(|| std::thread::sleep(LOOK))?;
        Ok(server)
    }

    /// Ends the process without warning.
    pub fn kill(&mut self) {
        // A process that has ended by itself cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after its end, in the same folder; its log goes on. `meanwhile` is called
    /// until it is ready, for those who must not stand still.
    ///
    /// # Errors
    ///
    /// As for [`Server::start`].
    pub fn start_again(&mut self, meanwhile: impl FnMut()) -> Result<(), String> {
        self.child = spawn(self.runtime, &self.folder, &self.options, self.telling)?;
        self.get_ready(meanwhile)
    }

    /// Writes its settings anew, as [`Server::start_from`] takes them. When it reads them is for
    /// others to say, or for itself.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn write(&self, properties: &str, balancing: Option<&str>) -> Result<(), String> {
        write_settings(&self.folder, properties, balancing)
    }

    /// Asks the process to end in good order.
    ///
    /// # Errors
    ///
    /// If the machine has no `kill`, or the process is gone.
    pub fn terminate(&self) -> Result<(), String> {
        self.signal("TERM")
    }

    /// Sends a signal, by its name.
    ///
    /// # Errors
    ///
    /// If there is no such process or signal.
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        match status.map_err(|error| format!("kill: {error}"))? {
            status if status.success() => Ok(()),
            status => Err(format!("kill: {status}")),
        }
    }

    /// Waits for the line that says where it listens.
    fn get_ready(&mut self, mut meanwhile: impl FnMut()) -> Result<(), String> {
        let stdout = self.child.stdout.take().expect("stdout is a pipe");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A server that says nothing is found out by the deadline below.
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let end = Instant::now() + START_TIMEOUT;
        let line = loop {
            match receiver.try_recv() {
                Ok(line) => break line,
                Err(mpsc::TryRecvError::Empty) if Instant::now() < end => meanwhile(),
                Err(_) => break String::new(),
            }
        };
        let Some(rest) = line.trim_end().strip_prefix("ready ") else {
            return Err(format!("said {line:?} instead of ready; its log:\n{}", self.log()));
        };
        self.ready = rest
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Ok(())
    }

    /// One field of the ready line.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.ready.get(name).map(String::as_str)
    }

    /// The address of a listener that the ready line names, such as `ws`.
    pub fn addr(&self, name: &str) -> SocketAddr {
        let text = self.field(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.ready));
        text.parse().unwrap_or_else(|_| panic!("{name}={text} is no address"))
    }

    /// The media ports: the first with its address, the others by number.
    pub fn media(&self) -> Vec<SocketAddr> {
        let text = self.field("media").unwrap_or_default();
        let mut words = text.split(',');
        let Some(first) = words.next().and_then(|word| word.parse::<SocketAddr>().ok()) else {
            return Vec::new();
        };
        let others = words.filter_map(|port| port.parse().ok());
        std::iter::once(first).chain(others.map(|port| SocketAddr::new(first.ip(), port))).collect()
    }

    /// The number by which the operating system knows the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Its exit code, if the process has ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten()?.code()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Properties of a server on free ports of 127.0.0.1.
fn on_loopback(properties: &str) -> String {
    format!(
        "ip=127.0.0.1\nip_local=127.0.0.1\nws.port=0\nwss.port=off\nhttp.port=0\n\
         https.port=off\npage.port=off\nmedia_port_from=0\n{properties}\n",
    )
}

/// Writes those of a server's two files that change. Whenever it looks, each is there as a whole.
fn write_settings(folder: &Path, properties: &str, balancing: Option<&str>) -> Result<(), String> {
    let properties = format!("load_balancing_enabled={}\n{properties}", balancing.is_some());
    let files = [("flashphoner.properties", Some(&*properties)), ("loadbalancing.xml", balancing)];
    for (name, text) in files {
        let (file, draft) = (folder.join(name), folder.join("draft"));
        let Some(text) = text else { continue };
        if fs::read(&file).is_ok_and(|before| before == text.as_bytes()) {
            continue;
        }
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &file));
        written.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn spawn(
    runtime: Runtime,
    folder: &Path,
    options: &[String],
    telling: Telling,
) -> Result<Child, String> {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    let program = binary(runtime)?;
    let (mut command, filter) = match telling {
        Telling::Quiet => (in_session(program), "info".to_owned()),
        Telling::Usual => (Command::new(program), filter()),
        Telling::All => {
            (Command::new(program), "trace,is=trace,str0m=trace,dimpl=trace".to_owned())
        }
    };
    command
        .arg("--config")
        .arg(folder)
        .args(options)
        .env("RUST_LOG", filter)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| {
            format!("{}: {}: {error}", runtime.package(), command.get_program().display())
        })
}

/// A command that runs a program in a session of its own, which ends with the thread that starts
/// it, whatever ends that.
///
/// Kernels with autogroups share out time by session (sched(7)): of two threads on two cores, one
/// would have less of its core because of the other, and both less than somebody else's. A session
/// of its own hears of no signal from the terminal, hence the end.
pub fn in_session(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setsid");
    command.args(["setpriv", "--pdeathsig", "KILL"]).arg(program);
    command
}

/// What is logged: everything that shards report, what becomes of new settings, and of the rest
/// what the developer wants.
fn filter() -> String {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let node = "distributary_tokio::node";
    format!("{wanted},{node}::event_log=debug,{node}::reload=info")
}

fn new_folder() -> std::io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("distributary-test-{}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Builds the server's binary, which cargo does not do for the tests of another package, and
/// says where it is: beside the folder of the running test.
///
/// # Errors
///
/// What cargo said, if it does not build.
pub fn binary(runtime: Runtime) -> Result<PathBuf, String> {
    static MIO: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    static TOKIO: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = match runtime {
        Runtime::Mio => &MIO,
        Runtime::Tokio => &TOKIO,
    };
    built.get_or_init(|| build(runtime)).clone()
}

fn build(runtime: Runtime) -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = program.parent().ok_or("no target folder")?;
    // Tests lie one level deeper than programs.
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let folder = folder.ok_or("no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", runtime.package(), "--bin", runtime.package()]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let built = build
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    Ok(folder.join(runtime.package()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// The session of a process, once it is `name`.
    fn session(pid: u32, name: &str) -> u32 {
        let end = Instant::now() + START_TIMEOUT;
        while Instant::now() < end {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            if let Some((_, rest)) = stat.split_once(&format!("({name}) ")) {
                return rest.split(' ').nth(3).unwrap().parse().unwrap();
            }
            std::thread::sleep(LOOK);
        }
        panic!("{pid} is not {name}");
    }

    #[test]
    fn a_session_ends_with_the_thread_that_started_it() {
        let start = || {
            let child = in_session("sleep").arg("60").spawn().unwrap();
            let session = session(child.id(), "sleep");
            (child, session)
        };
        let (mut child, session) = std::thread::spawn(start).join().unwrap();
        assert_eq!(session, child.id());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
