//! The way of TCP from one node to another over loopback, where a test can cut or hold it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// Time between two attempts of TCP to get through, at the least.
const RETRANSMIT: Duration = Duration::from_millis(200);

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
    /// The share of what is read at once that is late, as if a segment of it had been lost.
    loss: f64,
    chance: Mutex<fastrand::Rng>,
    over: AtomicBool,
    /// Owned by the two threads that copy, so that an end comes as soon as they are done.
    open: Mutex<Vec<Weak<TcpStream>>>,
    /// Whether nothing passes.
    held: Mutex<bool>,
    released: Condvar,
}

impl Cable {
    /// Lets connections to `from` end up at `to`, on a way that loses this share each way.
    pub(super) fn new(from: SocketAddr, to: SocketAddr, loss: f64) -> io::Result<Self> {
        let listener = TcpListener::bind(from)?;
        let shared = Arc::new(Shared {
            from,
            to,
            loss,
            chance: Mutex::new(fastrand::Rng::with_seed(from.port().into())),
            over: AtomicBool::new(false),
            open: Mutex::default(),
            held: Mutex::new(false),
            released: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        let thread = thread::spawn(move || accepting.accept(&listener));
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Resets what is connected. It can be connected again at once.
    pub(super) fn cut(&self) {
        self.shared.cut();
    }

    /// Lets nothing pass either way, and nobody know it; or lets pass what has waited since, the
    /// ends of connections too. Whoever connects meanwhile is heard at the other end only then.
    pub(super) fn set_held(&self, held: bool) {
        self.shared.set_held(held);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.set_held(false);
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
            self.wait_for_release();
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
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pass_on(&from, &to));
        }
        Ok(())
    }

    fn cut(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<Arc<TcpStream>> = open.iter().filter_map(Weak::upgrade).collect();
        // With nothing to linger for, the kernel resets the connection when nobody holds it any
        // more. Those who read it let go then: shutting the reading side down wakes them and sends
        // nothing. A socket that refuses either is reset already. Both ends are marked before
        // anybody wakes: whoever finds an end unmarked ends it in good order.
        for socket in &open {
            let _ = SockRef::from(&**socket).set_linger(Some(Duration::ZERO));
        }
        for socket in &open {
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    fn set_held(&self, held: bool) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.released.notify_all();
    }

    fn wait_for_release(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_while(held, |held| *held));
    }

    /// Waits as long as TCP does until it sends again what was lost, if something was.
    fn wait_for_what_is_lost(&self) {
        let lost = self.loss > 0.0 && {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            chance.f64() < self.loss
        };
        if lost {
            thread::sleep(RETRANSMIT);
        }
    }

    /// Copies one direction until it ends, and then ends it on the other side the same way.
    fn pass_on(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buf = [0; 16 * 1024];
        loop {
            let came = from.read(&mut buf);
            self.wait_for_what_is_lost();
            self.wait_for_release();
            match came {
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
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::real::Network;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// How long nothing must come for it to be believed that nothing does.
    const SILENCE: Duration = Duration::from_millis(300);
    const PORT: u16 = 21_300;

    /// A network, a cable on it, and the listener that it leads to.
    fn cable(loss: f64) -> (Network, Cable, TcpListener) {
        let network = Network::take();
        let listener = TcpListener::bind((network.address(2), PORT)).unwrap();
        let near = SocketAddr::new(network.address(3), PORT);
        let cable = Cable::new(near, listener.local_addr().unwrap(), loss).unwrap();
        (network, cable, listener)
    }

    /// Both ends of a connection over a cable.
    fn connected(cable: &Cable, listener: &TcpListener) -> [TcpStream; 2] {
        let near = TcpStream::connect(cable.shared.from).unwrap();
        [near, listener.accept().unwrap().0]
    }

    fn comes(mut at: &TcpStream, wanted: &[u8]) {
        at.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut came = vec![0; wanted.len()];
        at.read_exact(&mut came).unwrap();
        assert_eq!(came, wanted);
    }

    fn is_silent(mut at: &TcpStream) -> bool {
        at.set_read_timeout(Some(SILENCE)).unwrap();
        at.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn what_a_held_cable_was_given_comes_once_it_is_released_and_so_does_an_end() {
        let (_network, cable, listener) = cable(0.0);
        let [near, far] = connected(&cable, &listener);
        (&near).write_all(b"one").unwrap();
        comes(&far, b"one");
        cable.set_held(true);
        (&near).write_all(b"two").unwrap();
        (&far).write_all(b"three").unwrap();
        assert!(is_silent(&near) && is_silent(&far));
        near.shutdown(Shutdown::Write).unwrap();
        assert!(is_silent(&far), "nobody is told of an end either");
        cable.set_held(false);
        comes(&far, b"two");
        comes(&near, b"three");
        assert_eq!((&far).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn whoever_dials_over_a_held_cable_is_heard_once_it_is_released() {
        let (_network, cable, listener) = cable(0.0);
        cable.set_held(true);
        let near = TcpStream::connect(cable.shared.from).unwrap();
        (&near).write_all(b"one").unwrap();
        assert!(is_silent(&near));
        listener.set_nonblocking(true).unwrap();
        let early = listener.accept();
        assert!(early.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        listener.set_nonblocking(false).unwrap();
        cable.set_held(false);
        let (far, _) = listener.accept().unwrap();
        comes(&far, b"one");
    }

    #[test]
    fn what_is_lost_comes_late_and_what_follows_it_after_it() {
        let (_network, cable, listener) = cable(1.0);
        let [near, far] = connected(&cable, &listener);
        let begun = Instant::now();
        (&near).write_all(b"one").unwrap();
        comes(&far, b"one");
        assert!(begun.elapsed() >= RETRANSMIT, "{:?}", begun.elapsed());
        (&near).write_all(b"two").unwrap();
        (&near).write_all(b"three").unwrap();
        comes(&far, b"twothree");
    }

    #[test]
    fn a_held_cable_ends_like_any_other() {
        let (_network, cable, listener) = cable(0.0);
        let [near, far] = connected(&cable, &listener);
        cable.set_held(true);
        (&near).write_all(b"one").unwrap();
        drop(cable);
        for mut end in [&near, &far] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
            let ended = end.read_to_end(&mut Vec::new());
            assert!(ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        }
    }
}
