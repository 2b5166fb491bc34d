//! The server of a running fleet, as an image of the supervisor finds it that did not start it.

use std::path::Path;

use process::settings::Secret;

use super::{FOLDER, Limits, RedisServer, RedisServerError, Site, files::Address, program};

/// A server that the programs of a running fleet know, and that may run or not.
#[derive(Debug)]
pub struct KnownServer {
    site: Site,
    address: Address,
}

impl KnownServer {
    /// The server of `state`/redis, as its files describe it. `None` if they do not.
    ///
    /// # Errors
    /// The folder can't be used.
    pub fn find(state: &Path) -> Result<Option<Self>, RedisServerError> {
        let site =
            Site::new(&state.join(FOLDER), std::env::var_os("PATH").unwrap_or_default(), Limits::USUAL)?;
        let address = site.folder.read_address();
        Ok(address.map(|address| Self { site, address }))
    }

    /// Its `REDIS_URL`.
    pub fn url(&self) -> Secret {
        self.address.url()
    }

    /// Its port on the loopback.
    pub fn port(&self) -> u16 {
        self.address.port
    }

    /// Adopts the server, or starts it at the port that the fleet knows. The caller waits longer after each failure.
    ///
    /// # Errors
    /// As for [`RedisServer::start_or_adopt`]; also when another process has the port.
    pub async fn adopt_or_start(&self) -> Result<RedisServer, RedisServerError> {
        if let Some(server) = RedisServer::adopt(&self.site, Some(&self.address)).await? {
            return Ok(server);
        }
        let program = program::find_program(&self.site.path).await?;
        RedisServer::start(&self.site, &program, &self.address).await
    }

    /// Adopts the server if it runs.
    ///
    /// # Errors
    /// It runs and does not answer.
    pub async fn adopt(&self) -> Result<Option<RedisServer>, RedisServerError> {
        RedisServer::adopt(&self.site, Some(&self.address)).await
    }
}
