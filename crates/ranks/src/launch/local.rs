//! Ranks that Snug starts on this machine itself (`--nproc`), without Python.

use super::{Address, Launch, Launcher};
use crate::error::{Error, Result};
use crate::shard::Shard;

/// A variable for a child process: its name and value.
pub type Variable = (&'static str, String);

impl Launch {
    /// `size` ranks on this machine, whose rank 0 serves the store at `port`.
    ///
    /// # Errors
    /// If the environment says that this process is one of several ranks already: each of them would
    /// start a run of its own.
    pub fn local(
        variable: &dyn Fn(&str) -> Option<String>,
        size: usize,
        port: u16,
    ) -> Result<Vec<Self>> {
        if let Some(Self {
            launcher, shard, ..
        }) = Self::of(variable)?
        {
            let size = shard.size();
            return Err(Error::Nested { launcher, size });
        }
        let launch = |shard: Shard| Self {
            launcher: Launcher::Snug,
            shard,
            local_rank: shard.rank(),
            local_size: size,
            store: Address {
                host: "127.0.0.1".to_owned(),
                port,
            },
            is_store_served: false,
            attempt: 0,
        };
        (0..size)
            .map(|rank| Shard::new(rank, size).map(launch))
            .collect()
    }

    /// The variables that make a child process this rank, whatever else its environment says.
    pub fn variables(&self) -> Vec<Variable> {
        let names = Launcher::Snug.names();
        let mut variables = vec![
            (names.rank, self.shard.rank().to_string()),
            (names.size, self.shard.size().to_string()),
            (names.local_rank, self.local_rank.to_string()),
            (names.local_size, self.local_size.to_string()),
            (names.host, self.store.host.clone()),
            (names.port, self.store.port.to_string()),
        ];
        variables.extend(names.attempt.map(|it| (it, self.attempt.to_string())));
        let is_served = u8::from(self.is_store_served);
        variables.extend(names.agent.map(|it| (it, is_served.to_string())));
        variables
    }
}
