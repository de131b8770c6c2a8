//! How an operation between processes fails. c10d, Gloo and NCCL report it in words alone, which are read here.

use crate::Error;

/// Why processes could not work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Another process ended, or closed its connection. That process knows the reason, not this one.
    #[error("another process of this run is gone: {message}")]
    PeerGone {
        /// What the library below says.
        message: String,
    },
    /// Another process or a key did not come in time.
    #[error("another process of this run did not answer in time: {message}")]
    TimedOut {
        /// What the library below says.
        message: String,
    },
    /// No connection came about.
    #[error("{who} cannot be reached: {message}")]
    Unreachable {
        /// Who is missing, in words.
        who: String,
        /// The ranks that are missing, if it is known.
        ranks: Vec<usize>,
        /// What was tried, or what the library below says.
        message: String,
    },
    /// An earlier operation of this group failed or was aborted, and there can be none after it.
    #[error("this group of processes has ended: {reason}")]
    Dead {
        /// The first failure of the group.
        reason: String,
    },
    /// The port of a store is in use.
    #[error("the port is in use by another program: {message}")]
    PortTaken {
        /// What the library below says.
        message: String,
    },
    /// There is no NCCL here, or no GPU for it.
    #[error("NCCL is not available: {message}")]
    NoNccl {
        /// What is missing.
        message: String,
    },
}

/// Kinds of failures that have words of their own.
#[derive(Clone, Copy)]
enum Kind {
    PeerGone,
    TimedOut,
    Unreachable,
    PortTaken,
    NoNccl,
    Aborted,
}

/// What an aborted operation says, by `shim/c10d.cpp`.
pub(super) const ABORTED: &str = "aborted by this process";

/// What the libraries say, and what it means: the first phrase that a message contains counts. A failed connection
/// mentions its last attempt, which timed out or was refused.
const PHRASES: [(&str, Kind); 21] = [
    ("EADDRINUSE", Kind::PortTaken),
    (ABORTED, Kind::Aborted),
    ("no GPUs found", Kind::NoNccl),
    ("libtorch_cuda has no NCCL", Kind::NoNccl),
    ("Ping failed", Kind::Unreachable),
    ("The client socket has", Kind::Unreachable),
    ("network addresses of", Kind::Unreachable),
    ("connectFullMesh failed", Kind::Unreachable),
    ("failed to pass monitoredBarrier", Kind::Unreachable),
    ("Connection refused", Kind::Unreachable),
    ("Connection closed by peer", Kind::PeerGone),
    ("reset by peer", Kind::PeerGone),
    ("got 0 bytes", Kind::PeerGone),
    ("Broken pipe", Kind::PeerGone),
    ("ncclRemoteError", Kind::PeerGone),
    ("Timed out waiting", Kind::TimedOut),
    ("wait timeout after", Kind::TimedOut),
    ("Wait timeout", Kind::TimedOut),
    ("Application timeout caused pair closure", Kind::TimedOut),
    ("Operation timed out", Kind::TimedOut),
    ("timed out in blocking wait", Kind::TimedOut),
];

impl Failure {
    /// The failure that c10d reported with this text, if it is one of these.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (_, kind) = PHRASES.iter().find(|(phrase, _)| text.contains(phrase))?;
        let message = without_place(text).to_owned();
        Some(match kind {
            Kind::PeerGone => Self::PeerGone { message },
            Kind::TimedOut => Self::TimedOut { message },
            Kind::Unreachable => Self::Unreachable {
                who: "another process of this run".to_owned(),
                ranks: Vec::new(),
                message,
            },
            Kind::PortTaken => Self::PortTaken { message },
            Kind::NoNccl => Self::NoNccl { message },
            Kind::Aborted => Self::Dead { reason: message },
        })
    }
}

impl Error {
    /// Reads the words of an error that arose between processes.
    pub(super) fn between_processes(self) -> Self {
        match self {
            Self::Torch(text) => match Failure::from_text(&text) {
                Some(failure) => Self::Distributed(failure),
                None => Self::Torch(text),
            },
            other => other,
        }
    }
}

/// Drops `[file.cc:547] ` at the start of Gloo's messages.
fn without_place(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .filter(|(place, _)| place.contains(".cc:"))
        .map_or(text, |(_, rest)| rest)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as they were seen, less the names of hosts.
    #[test]
    fn words_of_the_libraries_are_understood() {
        let kind = |text: &str| match Failure::from_text(text) {
            Some(Failure::PeerGone { .. }) => "gone",
            Some(Failure::TimedOut { .. }) => "timed out",
            Some(Failure::Unreachable { .. }) => "unreachable",
            Some(Failure::PortTaken { .. }) => "port",
            Some(Failure::NoNccl { .. }) => "nccl",
            Some(Failure::Dead { .. }) => "dead",
            None => "other",
        };
        let seen = [
            (
                "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer \
                 [127.0.0.1]:41234. This may indicate a remote process failure.",
                "gone",
            ),
            (
                "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Read error \
                 [127.0.0.1]:41234: Connection reset by peer",
                "gone",
            ),
            (
                "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server \
                 shutdown or crash?",
                "gone",
            ),
            (
                "NCCL error in: NCCLUtils.cpp:77, remote process exited or there was a network error, \
                 NCCL version 2.28.9\nncclRemoteError: A call failed possibly due to a network error \
                 or a remote process exiting prematurely.",
                "gone",
            ),
            (
                "[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:72] Timed out \
                 waiting 4000ms for recv operation to complete",
                "timed out",
            ),
            ("Application timeout caused pair closure", "timed out"),
            ("wait timeout after 1000ms, keys: /step/0/1", "timed out"),
            ("Wait timeout", "timed out"),
            ("Operation timed out!", "timed out"),
            (
                "The client socket has timed out after 4000ms while trying to connect to \
                 (10.0.0.1, 29500).",
                "unreachable",
            ),
            (
                "Gloo connectFullMesh failed with [/pytorch/third_party/gloo/gloo/transport/tcp/\
                 pair.cc:144] timed out connecting: SO_ERROR: Connection refused, \
                 remote=[127.0.0.1]:4321",
                "unreachable",
            ),
            (
                "[Rank 0]: Ranks 2 failed to pass monitoredBarrier in 2000 ms",
                "unreachable",
            ),
            (
                "The server socket has failed to listen on any local network address. port: 29500, \
                 useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
                "port",
            ),
            (
                "ProcessGroupNCCL is only supported with GPUs, no GPUs found!",
                "nccl",
            ),
            (
                "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:1178] aborted by this process",
                "dead",
            ),
            ("Invalid scalar type", "other"),
        ];
        for (text, expected) in seen {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn the_place_in_the_source_is_left_out() {
        let text =
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer";
        let failure = Failure::from_text(text).unwrap();
        assert_eq!(
            failure.to_string(),
            "another process of this run is gone: Connection closed by peer"
        );
        assert_eq!(without_place("[Rank 0]: it"), "[Rank 0]: it");
    }
}
