//! How the processes of a run come together and how they leave: the store, the rendezvous, and the two groups. What they
//! then do together is not decided here.
//!
//! The *control* group is Gloo's everywhere. The *data* group carries gradients, by NCCL between GPUs.

#[cfg(test)]
pub(super) mod tests;

use std::cell::RefCell;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use config::Backend;
use ranks::{Address, Keys, Launch, Launcher, Reason, Rendezvous, Shard};
use tch::Device;
use torch_ext::distributed::{Failure, Group, Member, Store};

use super::transport::{Transport, is_nccl};
use crate::error::{Error, Result};

/// How long it may take to connect to the store, before the user hears what is in the way.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a host may take to answer at all.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a rank looks into the store while it waits for others.
const POLL: Duration = Duration::from_millis(20);
/// How long a rank that lost another one waits for the reason, and one that serves the store for the others' last look.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// How long a rank that serves the store and failed by itself waits for the others, which may be in the middle of a step.
const FAREWELL: Duration = Duration::from_secs(10);
/// How much longer than rank 0 the others wait for a missing rank, which only rank 0 can name.
const SLACK: Duration = Duration::from_secs(2);
/// The interface of a run on one machine. Gloo's own choice depends on what the host's name resolves to.
const LOOPBACK: &str = if cfg!(target_os = "macos") {
    "lo0"
} else {
    "lo"
};

/// What a rank waits for at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// The store, and what is in the way.
    Store(&'a str),
    /// Other ranks, on rank 0.
    Ranks(&'a [usize]),
}

/// How long ranks wait for each other. The longer ones are outside, so that the inner one says what is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until all have started.
    pub join: Duration,
    /// In an operation of the control group.
    pub control: Duration,
    /// In an operation of the data group, if it is NCCL's; else as in the control group.
    pub data: Duration,
}

impl Patience {
    /// Ranks wait for each other for `step` in a step, and longer where more has to be done.
    pub fn of(step: Duration) -> Self {
        Self {
            join: Duration::from_secs(300),
            control: step,
            data: 5 * step,
        }
    }
}

/// The other processes of a run, connected.
#[derive(Debug)]
pub struct Peers {
    launch: Launch,
    how: (Device, Backend, Patience),
    // Groups are dropped before the stores that they use.
    control: Group,
    data: Transport,
    more: RefCell<Vec<Transport>>,
    /// With keys that no other start has used.
    store: Store,
    /// With the keys of all starts.
    root: Store,
}

impl Peers {
    /// Connects to the others: the store, the rendezvous, the control group, then the data group for tensors on
    /// `device`. All ranks call this, and it returns when all have. Until then, `waiting` is called again and again.
    ///
    /// # Errors
    /// [`ranks::Error::Absent`] names the ranks that did not come in time. [`Error::Tensor`] with a
    /// [`Failure`](torch_ext::distributed::Failure) if there is no store, or no connection.
    pub fn join(
        launch: Launch,
        device: Device,
        (backend, patience): (Backend, Patience),
        waiting: &dyn Fn(Waiting<'_>),
    ) -> Result<Self> {
        let root = open(&launch, patience.join, waiting)?;
        let prefix = match meet(&root, launch.shard, patience.join, waiting) {
            Ok(prefix) => prefix,
            Err(error) => {
                if serves(&launch) {
                    // The others have to read why before the store is gone.
                    thread::sleep(LAST_WORDS);
                }
                return Err(error);
            }
        };
        let store = root.prefix(&prefix)?;
        let control = member("control", launch.shard, patience.control);
        let control = Group::gloo(&store, &control, interface(&launch))?;
        let how = (device, backend, patience);
        let data = data_group("data", &store, &launch, how)?;
        Ok(Self {
            launch,
            how,
            control,
            data,
            more: RefCell::default(),
            store,
            root,
        })
    }

    /// How this process was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The rank of this process, and the number of ranks.
    pub fn shard(&self) -> Shard {
        self.launch.shard
    }

    /// The group for agreements, which takes tensors on the CPU.
    pub fn control(&self) -> &Group {
        &self.control
    }

    /// The group for gradients, and for whatever else lies on the device of this process.
    pub(super) const fn data(&self) -> &Transport {
        &self.data
    }

    /// One more group for what lies on the device of this process, under a name that none had before. All ranks call this.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub(super) fn another_group(&self, name: &str) -> Result<Transport> {
        let group = data_group(name, &self.store, &self.launch, self.how)?;
        self.more.borrow_mut().push(group.clone());
        Ok(group)
    }

    /// Ends all groups but that for agreements.
    pub(super) fn abort_data(&self) {
        // They may have ended already.
        drop(self.data.abort());
        for group in self.more.borrow().iter() {
            drop(group.abort());
        }
    }

    /// Leaves the reason of this rank's end for the others (and for the parent of `--nproc`), and ends all groups, so
    /// that the others stop waiting and look for it. A rank that serves the store itself returns when they have left
    /// reasons as well, after some seconds at most: the store ends with it.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn leave_reason(&self, reason: &Reason) -> Result<()> {
        let key = Reason::key(self.launch.attempt, self.shard().rank());
        let text = reason.to_json();
        let left = self.store.set(&key, text.as_bytes()).and_then(|()| {
            if self.launch.launcher == Launcher::Snug {
                self.root.set(&key, text.as_bytes())?;
                // A key is certainly set when the next answer comes: the parent looks as soon as this process has ended.
                self.root.check(&key)?;
            }
            Ok(())
        });
        // The others would wait on if they were not aborted, whatever it says.
        drop(self.control.abort());
        self.abort_data();
        left?;
        if serves(&self.launch) {
            let within = if reason.is_peer_lost {
                LAST_WORDS
            } else {
                FAREWELL
            };
            let start = Instant::now();
            while !self.reasons().1 && start.elapsed() < within {
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Says something to the other ranks, once under this name.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn say(&self, name: &str, text: &str) -> Result<()> {
        Ok(self.store.set(&said(name), text.as_bytes())?)
    }

    /// Waits until another rank has [said](Self::say) something under this name, however long that takes: it may have much
    /// to read first.
    ///
    /// # Errors
    /// [`Error::PeerFailed`] if a rank left a reason meanwhile; if the store is gone.
    pub fn hear(&self, name: &str) -> Result<String> {
        let name = said(name);
        loop {
            if let Some(text) = self.store.try_get(&name)? {
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            if let Some(first) = Reason::first_of(&self.reasons().0) {
                let reason = Box::new(first.clone());
                return Err(Error::PeerFailed { reason });
            }
            thread::sleep(POLL);
        }
    }

    /// Waits up to 1.5 seconds for a reason that another rank left, and returns the first one. It waits no longer
    /// once a rank that failed by itself left one.
    pub fn first_reason(&self) -> Option<Reason> {
        let start = Instant::now();
        loop {
            let (reasons, is_complete) = self.reasons();
            let first = Reason::first_of(&reasons);
            let is_known = first.is_some_and(|it| !it.is_peer_lost);
            if is_known || is_complete || start.elapsed() >= LAST_WORDS {
                return first.cloned();
            }
            thread::sleep(POLL);
        }
    }

    /// The reasons of other ranks so far, and whether there can be no more.
    fn reasons(&self) -> (Vec<Reason>, bool) {
        let mut reasons = Vec::new();
        let (rank, size) = (self.shard().rank(), self.shard().size());
        for other in (0..size).filter(|it| *it != rank) {
            let key = Reason::key(self.launch.attempt, other);
            let Ok(value) = self.store.try_get(&key) else {
                return (reasons, true);
            };
            let text = value.map(|it| String::from_utf8_lossy(&it).into_owned());
            reasons.extend(text.and_then(|it| Reason::from_json(&it, other).ok()));
        }
        let is_complete = reasons.len() + 1 == size;
        (reasons, is_complete)
    }

    /// Waits up to `within` until all ranks have called this, so that none closes a connection or the store while
    /// another one still uses it. Returns whether all came. It is the last thing that a rank does with the others.
    pub fn part(&self, within: Duration) -> bool {
        let have_all_come = self.wait_for_all("parting", within);
        // The others have to see that before the store ends.
        let goodbye = if serves(&self.launch) {
            LAST_WORDS
        } else {
            Duration::ZERO
        };
        self.wait_for_all("parted", goodbye);
        have_all_come
    }

    /// A barrier in the store. Returns whether all ranks came.
    fn wait_for_all(&self, word: &str, within: Duration) -> bool {
        let key = |rank: usize| format!("{word}/{rank}");
        let shard = self.shard();
        if self.store.set(&key(shard.rank()), b"1").is_err() {
            return false;
        }
        let start = Instant::now();
        (0..shard.size()).all(|rank| {
            loop {
                match self.store.check(&key(rank)) {
                    Ok(true) => break true,
                    Ok(false) if start.elapsed() < within => thread::sleep(POLL),
                    _ => break false,
                }
            }
        })
    }
}

/// The key of what was said under a name.
fn said(name: &str) -> String {
    format!("said/{name}")
}

/// Whether this rank serves the store.
fn serves(launch: &Launch) -> bool {
    launch.shard.rank() == 0 && !launch.is_store_served
}

/// Serves the store, or connects to it.
fn open(launch: &Launch, timeout: Duration, waiting: &dyn Fn(Waiting<'_>)) -> Result<Store> {
    let address = &launch.store;
    if serves(launch) {
        // A name of this host may not resolve before others see it as started.
        return Ok(Store::serve("127.0.0.1", address.port, timeout)?);
    }
    let start = Instant::now();
    let mut attempt = None;
    loop {
        match attempt
            .get_or_insert_with(|| connecting(address, timeout))
            .recv_timeout(ATTEMPT.min(timeout))
        {
            Ok(Ok(store)) => return Ok(store),
            Ok(Err(torch_ext::Error::Distributed(_))) | Err(RecvTimeoutError::Disconnected) => {
                attempt = None;
                thread::sleep(PAUSE);
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let message = obstacle(address);
        if start.elapsed() >= timeout {
            let (who, ranks) = ("rank 0".to_owned(), vec![0]);
            let lost = Failure::Unreachable {
                who,
                ranks,
                message,
            };
            return Err(torch_ext::Error::from(lost).into());
        }
        waiting(Waiting::Store(&message));
    }
}

/// Connects to the store in a thread of its own: c10d waits forever for a program that takes the connection and says
/// nothing.
fn connecting(address: &Address, timeout: Duration) -> Receiver<torch_ext::Result<Store>> {
    let (connected, result) = mpsc::channel();
    let Address { host, port } = address.clone();
    thread::spawn(move || connected.send(Store::connect(&host, port, timeout)));
    result
}

/// Why there is no connection to the store, in words.
fn obstacle(address: &Address) -> String {
    let host = &address.host;
    let found = match (host.as_str(), address.port).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => return format!("the name of the host `{host}` does not resolve: {error}"),
    };
    let mut found = found.map(|it| TcpStream::connect_timeout(&it, ANSWER).is_ok());
    if found.any(|is_there| is_there) {
        format!("what listens at {address} is not the store of rank 0")
    } else {
        format!("nothing listens at {address}")
    }
}

/// Finds the others, and returns the prefix of this start.
fn meet(
    root: &Store,
    shard: Shard,
    join: Duration,
    waiting: &dyn Fn(Waiting<'_>),
) -> Result<String> {
    let mut keys = Root(root);
    let mut rendezvous = Rendezvous::new(shard, rand::random());
    let patience = if shard.rank() == 0 {
        join
    } else {
        join + SLACK
    };
    let mut start = Instant::now();
    let mut is_rank_0_here = shard.rank() == 0;
    loop {
        if let Some(prefix) = rendezvous.poll(&mut keys)? {
            return Ok(prefix);
        }
        // Rank 0 began to wait just now, and says who is missing when it ends.
        if !is_rank_0_here && rendezvous.missing().is_empty() {
            (is_rank_0_here, start) = (true, Instant::now());
        }
        if shard.rank() == 0 {
            waiting(Waiting::Ranks(&rendezvous.missing()));
        }
        if start.elapsed() >= patience {
            return Err(rendezvous.give_up(&mut keys)?.into());
        }
        thread::sleep(POLL);
    }
}

/// The store as a rendezvous sees it.
struct Root<'a>(&'a Store);

impl Keys for Root<'_> {
    type Error = Error;

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        Ok(self.0.set(key, value.as_bytes())?)
    }

    fn get(&mut self, key: &str) -> Result<Option<String>> {
        let value = self.0.try_get(key)?;
        Ok(value.map(|it| String::from_utf8_lossy(&it).into_owned()))
    }
}

fn member(prefix: &str, shard: Shard, timeout: Duration) -> Member<'_> {
    Member {
        prefix,
        rank: shard.rank(),
        size: shard.size(),
        timeout,
    }
}

/// A group for what lies on `device`.
fn data_group(
    name: &str,
    store: &Store,
    launch: &Launch,
    (device, backend, patience): (Device, Backend, Patience),
) -> Result<Transport> {
    let is_nccl = is_nccl(backend, device);
    // NCCL's watchdog ends the process: the agreement of the next step should find a missing rank first.
    let timeout = if is_nccl {
        patience.data
    } else {
        patience.control
    };
    let member = member(name, launch.shard, timeout);
    let group = if is_nccl {
        let index = match device {
            Device::Cuda(index) => index,
            _ => 0,
        };
        Group::nccl(store, &member, index)?
    } else {
        Group::gloo(store, &member, interface(launch))?
    };
    Ok(Transport::new(group, is_nccl))
}

/// The network interface that Gloo should take, where it is known.
fn interface(launch: &Launch) -> Option<&'static str> {
    (launch.local_size == launch.shard.size()).then_some(LOOPBACK)
}
