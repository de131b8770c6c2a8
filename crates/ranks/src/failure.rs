//! The reason that a failing rank leaves for the others, and which of several reasons is the first.
//!
//! When a rank dies, the others only see a closed connection. So a rank that fails leaves its reason in the store under
//! [`Reason::key`] before it goes, and the others wait a moment for one and report it in place of their own error.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest text of a reason. More would come from no rank of Snug: anybody on the network can write to the store.
const MOST_BYTES: usize = 64 << 10;

/// Why a rank ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The rank that ended.
    pub rank: usize,
    /// [`Launch::attempt`](crate::Launch::attempt).
    pub attempt: u32,
    /// Whether it only lost another rank.
    pub is_peer_lost: bool,
    /// Its error, with the causes.
    pub error: String,
    /// Its hint.
    pub hint: Option<String>,
    /// The code that it exits with.
    pub exit_code: u8,
    /// When it failed, in milliseconds since 1970.
    pub unix_ms: u64,
}

impl Reason {
    /// Where in the store the rank `rank` leaves its reason: below the prefix of
    /// [`Rendezvous::poll`](crate::Rendezvous::poll) once there is one, because attempts alone do not tell all starts apart.
    pub fn key(attempt: u32, rank: usize) -> String {
        format!("failed/{attempt}/{rank}")
    }

    /// The reason as JSON, for the store.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The reason that `rank` left as [`Self::to_json`]. Control characters, which could rewrite a terminal, become
    /// spaces.
    ///
    /// # Errors
    /// If the text is not a reason, or is the reason of another rank.
    pub fn from_json(text: &str, rank: usize) -> Result<Self> {
        if text.len() > MOST_BYTES {
            return Err(Error::record("it has the wrong length"));
        }
        let reason: Self =
            serde_json::from_str(text).map_err(|error| Error::record(&error.to_string()))?;
        if reason.rank != rank {
            return Err(Error::record("it is of another rank"));
        }
        let clean = |text: String| text.replace(|it: char| it.is_control() && it != '\n', " ");
        Ok(Self {
            error: clean(reason.error),
            hint: reason.hint.map(clean),
            ..reason
        })
    }

    /// The reason that comes first. One of a rank that failed by itself precedes those of ranks that lost another,
    /// because clocks of machines differ; then time decides, and then the rank.
    pub fn first_of(reasons: &[Self]) -> Option<&Self> {
        reasons
            .iter()
            .min_by_key(|it| (it.is_peer_lost, it.unix_ms, it.rank))
    }

    /// What the other ranks report. The hint is apart, in [`Self::hint`].
    pub fn said(&self) -> String {
        format!("rank {} ended the run: {}", self.rank, self.error)
    }

    /// What to write to `TORCHELASTIC_ERROR_FILE`, from which torchrun takes the cause. It shows what it takes for the
    /// Python stack, and compares times in seconds.
    pub fn to_torchelastic(&self) -> String {
        let mut text = self.said();
        if let Some(hint) = &self.hint {
            text = format!("{text}\nhint: {hint}");
        }
        let extra = serde_json::json!({
            "timestamp": (self.unix_ms / 1000).to_string(),
            "py_callstack": text,
        });
        serde_json::json!({ "message": { "message": text, "extraInfo": extra } }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(rank: usize, is_peer_lost: bool, unix_ms: u64) -> Reason {
        Reason {
            rank,
            attempt: 1,
            is_peer_lost,
            error: "cannot read `pages/7.png`".to_owned(),
            hint: Some("remove it".to_owned()),
            exit_code: 1,
            unix_ms,
        }
    }

    #[test]
    fn a_reason_survives_the_store() {
        let reason = reason(2, false, 1_764_000_000_123);
        insta::assert_snapshot!(
            [
                Reason::key(reason.attempt, reason.rank),
                reason.to_json(),
                reason.said(),
                reason.to_torchelastic(),
            ]
            .join("\n"),
            @r#"
        failed/1/2
        {"attempt":1,"error":"cannot read `pages/7.png`","exit_code":1,"hint":"remove it","is_peer_lost":false,"rank":2,"unix_ms":1764000000123}
        rank 2 ended the run: cannot read `pages/7.png`
        {"message":{"extraInfo":{"py_callstack":"rank 2 ended the run: cannot read `pages/7.png`\nhint: remove it","timestamp":"1764000000"},"message":"rank 2 ended the run: cannot read `pages/7.png`\nhint: remove it"}}
        "#
        );
        assert_eq!(Reason::from_json(&reason.to_json(), 2), Ok(reason));
    }

    #[test]
    fn what_is_no_reason_is_refused() {
        let other = reason(1, false, 0).to_json();
        let long = "x".repeat(MOST_BYTES + 1);
        for text in [
            "",
            "{}",
            "[1]",
            &other,
            &long,
            &other.replace("unix_ms", "time"),
        ] {
            let error = Reason::from_json(text, 2).unwrap_err();
            assert!(matches!(error, Error::Record { .. }), "{error}");
        }
    }

    #[test]
    fn a_reason_cannot_rewrite_a_terminal() {
        let mut evil = reason(0, false, 0);
        evil.error = "a\u{1b}[2Jb\u{9b}c\nd".to_owned();
        let read = Reason::from_json(&evil.to_json(), 0).unwrap();
        assert_eq!(read.error, "a [2Jb c\nd");
    }

    #[test]
    fn ranks_that_lost_another_do_not_come_first() {
        let first = |reasons: &[Reason]| Reason::first_of(reasons).map(|it| it.rank);
        let lost = reason(0, true, 10);
        let late = reason(1, false, 30);
        let early = reason(2, false, 20);
        let same = reason(3, false, 20);
        assert_eq!(first(&[lost.clone(), late.clone(), same, early]), Some(2));
        assert_eq!(first(&[late, lost.clone()]), Some(1));
        assert_eq!(first(&[lost]), Some(0));
        assert_eq!(first(&[]), None);
    }
}
