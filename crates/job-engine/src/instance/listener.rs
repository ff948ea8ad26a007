//! [`Listener`]: where the API is reached over HTTP.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::error::InstanceError;

/// A socket that is bound, and its address.
pub(super) struct Listener {
    pub socket: TcpListener,
    pub address: SocketAddr,
}

impl Listener {
    pub async fn bind(address: SocketAddr) -> Result<Self, InstanceError> {
        let failed = |source| InstanceError::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self { address: socket.local_addr().map_err(failed)?, socket })
    }
}
