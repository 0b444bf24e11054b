//! A way to Postgres that can be cut: a unix socket whose bytes are copied to the server's.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

const SOCKET: &str = ".s.PGSQL.5432";

pub struct Link {
    directory: TempDir,
    server: PathBuf,
    cut: CancellationToken,
}

impl Link {
    /// To the server that listens in this directory.
    pub fn to(server: &Path) -> Self {
        let directory = TempDir::new().unwrap();
        let mut link = Self { directory, server: server.join(SOCKET), cut: CancellationToken::new() };
        link.mend();
        link
    }

    /// Where it listens.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends all connections and refuses new ones.
    pub fn cut(&self) {
        self.cut.cancel();
        let _ = std::fs::remove_file(self.directory.path().join(SOCKET));
    }

    pub fn mend(&mut self) {
        self.cut = CancellationToken::new();
        let listener = UnixListener::bind(self.directory.path().join(SOCKET)).unwrap();
        let (cut, server) = (self.cut.clone(), self.server.clone());
        tokio::spawn(async move {
            while let Some(Ok((mut client, _))) = cut.run_until_cancelled(listener.accept()).await {
                let (cut, server) = (cut.clone(), server.clone());
                tokio::spawn(async move {
                    let mut server = UnixStream::connect(server).await.unwrap();
                    cut.run_until_cancelled(copy_bidirectional(&mut client, &mut server)).await
                });
            }
        });
    }
}
