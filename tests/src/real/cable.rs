//! The way of TCP from one node to another over loopback, where a test can cut it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// A listener that passes on what comes to a node behind it. Dropping it cuts what is connected.
#[derive(Debug)]
pub(super) struct Cable {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    from: SocketAddr,
    to: SocketAddr,
    over: AtomicBool,
    /// Owned by the two threads that copy, so that an end comes as soon as they are done.
    open: Mutex<Vec<Weak<TcpStream>>>,
}

impl Cable {
    /// Lets connections to `from` end up at `to`.
    pub(super) fn new(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(from)?;
        let shared = Shared { from, to, over: AtomicBool::new(false), open: Mutex::default() };
        let shared = Arc::new(shared);
        let accepting = Arc::clone(&shared);
        let thread = thread::spawn(move || accepting.accept(&listener));
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Resets what is connected. It can be connected again at once.
    pub(super) fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // So that it looks.
        let _ = TcpStream::connect(self.shared.from);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, not even if it panicked: then tests fail without their link.
            let _ = thread.join();
        }
        self.shared.cut();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for socket in listener.incoming() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            // A connection that cannot be passed on ends here, as at a node that is gone.
            let _ = socket.and_then(|socket| self.connect(socket));
        }
    }

    fn connect(self: &Arc<Self>, near: TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(self.to)?;
        let (near, far) = (Arc::new(near), Arc::new(far));
        for socket in [&near, &far] {
            socket.set_nodelay(true)?;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend([Arc::downgrade(&near), Arc::downgrade(&far)]);
        for (from, to) in [(Arc::clone(&near), Arc::clone(&far)), (far, near)] {
            thread::spawn(move || pass_on(&from, &to));
        }
        Ok(())
    }

    fn cut(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for socket in open.iter().filter_map(Weak::upgrade) {
            // With nothing to linger for, the kernel resets the connection when nobody holds it
            // any more. Those who read it let go then: shutting the reading side down wakes them
            // and sends nothing. A socket that refuses either is reset already.
            let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}

/// Copies one direction until it ends, and then ends it on the other side the same way.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buf = [0; 16 * 1024];
    loop {
        match from.read(&mut buf) {
            Ok(0) => break,
            Ok(len) => {
                if to.write_all(buf.get(..len).unwrap_or_default()).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                let _ = SockRef::from(to).set_linger(Some(Duration::ZERO));
                let _ = to.shutdown(Shutdown::Read);
                return;
            }
        }
    }
    // What was cut has no end to pass on.
    if SockRef::from(to).linger().ok().flatten().is_none() {
        let _ = to.shutdown(Shutdown::Write);
    }
}
