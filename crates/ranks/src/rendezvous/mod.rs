//! How ranks find each other in a store that may hold keys of dead processes.
//!
//! torchrun's store outlives a start, and its count of restarts does not tell all starts apart. A group of processes
//! must not read the addresses of an earlier one, so each start needs a name of its own. Each rank has a random *nonce*:
//!
//! 1. Rank `r` sets `hello/r` to its nonce.
//! 2. Rank 0 answers every hello it sees: it sets `welcome/<nonce of r>` to its own nonce. Nobody reads the answer to a
//!    dead process.
//! 3. Rank `r` sets `ack/<nonce of rank 0>/r` to its nonce and the number of ranks that it was started for. Only a living
//!    process can know rank 0's nonce.
//! 4. With the acks of all, rank 0 sets `go/<its nonce>` to the nonces of all ranks, and `round/<its nonce>` is the name of
//!    the start. If rank 0 waits no longer, or a rank does not fit, `go` says so to all.
//!
//! A rank 0 that sees another nonce in `lead` is from an earlier start, and leaves.

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::shard::Shard;

/// A store that all ranks share.
pub trait Keys {
    /// Errors of the store, and of the rendezvous.
    type Error: From<Error>;

    /// Sets a key.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Self::Error>;

    /// The value of a key if it is set, without waiting for it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn get(&mut self, key: &str) -> Result<Option<String>, Self::Error>;
}

/// One rank on its way to the others. The caller asks again and again until all are present or it waits no longer; others
/// should wait longer than rank 0, which can tell who is missing.
#[derive(Debug)]
pub struct Rendezvous {
    shard: Shard,
    nonce: String,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Host {
        is_announced: bool,
        /// Of each rank, rank 0 included.
        guests: Vec<Guest>,
    },
    Guest {
        /// The nonce of the rank 0 that answered.
        host: Option<String>,
    },
}

#[derive(Debug, Default)]
struct Guest {
    /// The last hello that was answered.
    answered: Option<String>,
    /// The nonce that came with the ack.
    nonce: Option<String>,
}

const LEAD: &str = "lead";
const ABSENT: &str = "absent ";
const SIZES: &str = "sizes ";

impl Rendezvous {
    /// The rank `shard`. `nonce` is a fresh random number.
    pub fn new(shard: Shard, nonce: u64) -> Self {
        let nonce = format!("{nonce:016x}");
        let role = if shard.rank() == 0 {
            let mut guests: Vec<Guest> = (0..shard.size()).map(|_| Guest::default()).collect();
            guests[0].nonce = Some(nonce.clone());
            Role::Host {
                is_announced: false,
                guests,
            }
        } else {
            Role::Guest { host: None }
        };
        Self { shard, nonce, role }
    }

    /// Does what can be done now. When all ranks are present, returns a prefix for keys that no other start has used.
    ///
    /// # Errors
    /// If the store fails, rank 0 said who is missing, two processes have the same rank, or ranks were started for
    /// different numbers of ranks.
    pub fn poll<K: Keys>(&mut self, keys: &mut K) -> Result<Option<String>, K::Error> {
        let Self { shard, nonce, role } = self;
        match role {
            Role::Host {
                is_announced,
                guests,
            } => {
                if !*is_announced {
                    keys.set(LEAD, nonce)?;
                    *is_announced = true;
                } else if keys.get(LEAD)?.is_some_and(|it| it != *nonce) {
                    return Err(Error::Twice { rank: 0 }.into());
                }
                for (rank, guest) in guests.iter_mut().enumerate().skip(1) {
                    guest.welcome(keys, *shard, rank, nonce)?;
                }
                let nonces: Option<Vec<_>> = guests.iter().map(|it| it.nonce.as_deref()).collect();
                let Some(nonces) = nonces else {
                    return Ok(None);
                };
                keys.set(&go(nonce), &nonces.join(","))?;
                Ok(Some(round(nonce)))
            }
            Role::Guest { host } => {
                let rank = shard.rank();
                let hello = hello(rank);
                // Again if a dying process of this rank wrote over it.
                if host.is_none() && keys.get(&hello)?.as_ref() != Some(nonce) {
                    keys.set(&hello, nonce)?;
                }
                let Some(answer) = keys.get(&welcome(nonce))? else {
                    return Ok(None);
                };
                if host.as_ref() != Some(&answer) {
                    let said = format!("{nonce} {}", shard.size());
                    keys.set(&ack(&answer, rank), &said)?;
                    *host = Some(answer.clone());
                }
                let Some(said) = keys.get(&go(&answer))? else {
                    return Ok(None);
                };
                match refusal(&said) {
                    Some(error) => Err(error.into()),
                    None if said.split(',').nth(rank) != Some(nonce.as_str()) => {
                        Err(Error::Twice { rank }.into())
                    }
                    None => Ok(Some(round(&answer))),
                }
            }
        }
    }

    /// The ranks that this rank knows to be missing. Ranks other than 0 know only whether rank 0 is.
    pub fn missing(&self) -> Vec<usize> {
        match &self.role {
            Role::Host { guests, .. } => {
                let guests = guests.iter().enumerate();
                let missing = guests.filter(|(_, it)| it.nonce.is_none());
                missing.map(|(rank, _)| rank).collect()
            }
            Role::Guest { host: None } => vec![0],
            Role::Guest { host: Some(_) } => Vec::new(),
        }
    }

    /// Waits no longer: the error that says who is missing. Rank 0 tells the others.
    ///
    /// # Errors
    /// If the store fails.
    pub fn give_up<K: Keys>(self, keys: &mut K) -> Result<Error, K::Error> {
        let ranks = self.missing();
        if let (Role::Host { .. }, false) = (&self.role, ranks.is_empty()) {
            let missing: Vec<_> = ranks.iter().map(ToString::to_string).collect();
            keys.set(&go(&self.nonce), &format!("{ABSENT}{}", missing.join(",")))?;
        }
        Ok(if ranks.is_empty() {
            Error::NotAll
        } else {
            Error::Absent { ranks }
        })
    }
}

impl Guest {
    /// Answers a new hello of `rank`, and takes its last ack: a process may die after its ack and be replaced.
    fn welcome<K: Keys>(
        &mut self,
        keys: &mut K,
        shard: Shard,
        rank: usize,
        nonce: &str,
    ) -> Result<(), K::Error> {
        let said = keys.get(&hello(rank))?;
        if let Some(said) = said.filter(|it| self.answered.as_ref() != Some(it)) {
            keys.set(&welcome(&said), nonce)?;
            self.answered = Some(said);
        }
        let Some(ack) = keys.get(&ack(nonce, rank))? else {
            return Ok(());
        };
        let (theirs, size) = ack.split_once(' ').unwrap_or((&ack, ""));
        if size.parse() != Ok(shard.size()) {
            keys.set(
                &go(nonce),
                &format!("{SIZES}{rank} {size} {}", shard.size()),
            )?;
            return Err(Error::Sizes {
                rank,
                found: size.to_owned(),
                size: shard.size(),
            }
            .into());
        }
        self.nonce = Some(theirs.to_owned());
        Ok(())
    }
}

/// The error that rank 0 announced in place of a round.
fn refusal(said: &str) -> Option<Error> {
    if let Some(missing) = said.strip_prefix(ABSENT) {
        let ranks = missing.split(',').filter_map(|it| it.parse().ok());
        return Some(Error::Absent {
            ranks: ranks.collect(),
        });
    }
    let mut words = said.strip_prefix(SIZES)?.split(' ');
    Some(Error::Sizes {
        rank: words.next()?.parse().ok()?,
        found: words.next()?.to_owned(),
        size: words.next()?.parse().ok()?,
    })
}

fn hello(rank: usize) -> String {
    format!("hello/{rank}")
}

fn welcome(nonce: &str) -> String {
    format!("welcome/{nonce}")
}

fn ack(host: &str, rank: usize) -> String {
    format!("ack/{host}/{rank}")
}

fn go(host: &str) -> String {
    format!("go/{host}")
}

fn round(host: &str) -> String {
    format!("round/{host}")
}
