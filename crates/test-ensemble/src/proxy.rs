//! [`Proxy`]: faults between a client and a server.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::member::Port;

/// Most connections that wait to be accepted.
const BACKLOG: u32 = 128;
/// Most chunks of one direction that wait out a delay.
const CHUNKS: usize = 1024;
/// Longest chunk, in bytes.
const CHUNK: usize = 64 * 1024;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// What is sent arrives so much later, in both directions.
    Delay(Duration),
    /// Open connections are reset, new ones are refused.
    Cut,
    /// Connections stay open and new ones are taken, but everything in both directions is swallowed.
    HalfOpen,
    /// What clients send passes, what the server sends is swallowed.
    LoseAnswers,
}

/// One address on 127.0.0.1 in front of another, where faults can be had. Ends when dropped, its connections too.
///
/// A connection that lost something is reset once its fault has ended, as what follows would make no sense.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Fault>,
    injected: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// In front of this address, without a fault. Works as long as the runtime that it is made in.
    #[expect(clippy::unused_async, reason = "starts tasks: to be awaited is to be in a runtime")]
    pub async fn before(target: SocketAddr) -> Self {
        let port = Port::hold();
        let address = port.address;
        let (faults, fault) = watch::channel(Fault::None);
        let injected = Arc::new(AtomicU64::new(0));
        let link = Link { target, fault, injected: injected.clone(), spoiled: Arc::default() };
        let listener = listen(address);
        let open = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let open = open.clone();
            async move {
                let _port = port;
                accept(address, listener, link, &open).await;
            }
        });
        Self { address, faults, injected, open, _tasks: tasks }
    }

    /// What clients are told.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open and new connections.
    pub fn set(&self, fault: Fault) {
        self.faults.send_if_modified(|now| std::mem::replace(now, fault) != fault);
    }

    /// How many connections there are now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many connections were reset and how many chunks were delayed or swallowed so far. Connections that were refused
    /// are not known.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let open = || -> io::Result<_> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, address.port()).into())?;
        socket.listen(BACKLOG)
    };
    open().expect("a port that is held can be listened at")
}

/// Takes connections until the proxy is dropped.
async fn accept(address: SocketAddr, first: TcpListener, link: Link, open: &AtomicUsize) {
    let mut faults = link.fault.clone();
    let mut listener = Some(first);
    // dropped with this task
    let mut connections = JoinSet::new();
    loop {
        open.store(connections.len(), Ordering::Relaxed);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = faults.changed() => {
                let Ok(()) = changed else { return };
                let cut = *faults.borrow_and_update() == Fault::Cut;
                listener = if cut { None } else { listener.or_else(|| Some(listen(address))) };
            }
            Ok((client, _)) = accepted => {
                let link = Link { spoiled: Arc::default(), ..link.clone() };
                connections.spawn(link.serve(client));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What a connection knows.
#[derive(Clone)]
struct Link {
    target: SocketAddr,
    fault: watch::Receiver<Fault>,
    injected: Arc<AtomicU64>,
    /// Whether something on it was swallowed.
    spoiled: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

/// How a connection ends for the one side if it has ended for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// What was read, the end too: that is an empty one.
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

impl Link {
    async fn serve(self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.target).await else { return reset(&client) };
        // a chunk waits for no other; an error shows when it is used
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let end = tokio::select! {
            end = self.pass(Direction::Requests, &client, &server) => end,
            end = self.pass(Direction::Answers, &server, &client) => end,
            () = self.clone().fails() => End::Reset,
        };
        if end == End::Reset {
            reset(&client);
            reset(&server);
        }
    }

    /// Ends when a fault ends the connection.
    async fn fails(mut self) {
        loop {
            if *self.fault.borrow_and_update() == Fault::Cut {
                self.count();
                return;
            }
            if self.fault.changed().await.is_err() {
                return;
            }
            if *self.fault.borrow() != Fault::Cut && self.spoiled.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    async fn pass(&self, direction: Direction, from: &TcpStream, to: &TcpStream) -> End {
        let (queue, chunks) = mpsc::channel(CHUNKS);
        let reading = async {
            self.read(from, queue).await;
            std::future::pending().await
        };
        tokio::select! {
            end = self.write(direction, chunks, to) => end,
            end = reading => end,
        }
    }

    async fn read(&self, from: &TcpStream, queue: mpsc::Sender<Chunk>) {
        let mut buffer = vec![0; CHUNK];
        while from.readable().await.is_ok() {
            let bytes = match from.try_read(&mut buffer) {
                Ok(length) => buffer[..length].to_vec(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => return,
            };
            let delay = match *self.fault.borrow() {
                Fault::Delay(delay) => delay,
                _ => Duration::ZERO,
            };
            if !delay.is_zero() {
                self.count();
            }
            let last = bytes.is_empty();
            if queue.send(Chunk { due: Instant::now() + delay, bytes }).await.is_err() || last {
                return;
            }
        }
    }

    async fn write(&self, direction: Direction, mut chunks: mpsc::Receiver<Chunk>, to: &TcpStream) -> End {
        while let Some(Chunk { due, bytes }) = chunks.recv().await {
            sleep_until(due).await;
            match () {
                () if self.swallows(direction) => self.count(),
                () if bytes.is_empty() => return End::Closed,
                () => match write_all(to, &bytes).await {
                    Ok(()) => {}
                    Err(_) => return End::Reset,
                },
            }
        }
        // no end was read: it was a reset, or an end that was swallowed
        if self.spoiled.load(Ordering::SeqCst) { std::future::pending().await } else { End::Reset }
    }

    /// Whether what goes this way is lost now; if so, the connection is never what it was.
    fn swallows(&self, direction: Direction) -> bool {
        // held until the connection is known to be spoiled, so that the fault cannot end unseen
        let fault = self.fault.borrow();
        let swallows = match *fault {
            Fault::HalfOpen => true,
            Fault::LoseAnswers => direction == Direction::Answers,
            Fault::None | Fault::Delay(_) | Fault::Cut => false,
        };
        if swallows {
            self.spoiled.store(true, Ordering::SeqCst);
        }
        swallows
    }

    fn count(&self) {
        self.injected.fetch_add(1, Ordering::Relaxed);
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The peer hears of the end as of one that nobody wished. One that has closed already does not mind.
fn reset(stream: &TcpStream) {
    drop(stream.set_zero_linger());
}
