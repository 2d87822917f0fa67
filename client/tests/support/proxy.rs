//! A TCP proxy whose connections a test cuts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes bytes on, until it is told to cut. Ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    opened: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(router: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(0);
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass(client, router, cut.clone()));
            }
        });
        Self { address, cuts, opened, task }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/ws", self.address)
    }

    /// Ends all connections at once, in whatever they are doing.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Connections so far.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Small pieces, so that a cut falls into the middle of messages.
async fn pass(mut client: TcpStream, router: SocketAddr, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(mut router) = TcpStream::connect(router).await else { return };
    let (mut up, mut down) = ([0; 700], [0; 700]);
    loop {
        let passed = tokio::select! {
            _ = cut.changed() => return,
            read = client.read(&mut up) => match read {
                Ok(bytes @ 1..) => router.write_all(&up[..bytes]).await,
                _ => return,
            },
            read = router.read(&mut down) => match read {
                Ok(bytes @ 1..) => client.write_all(&down[..bytes]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
