//! What the parent of ranks says and exits with, from how they ended and the reasons that they left.

use std::os::unix::process::ExitStatusExt as _;

use config::cli::Exit;
use ranks::Reason;

use super::family::{AllEnded, Ended};

/// The signal of the system when memory runs out, and of `kill -9`.
const SIGKILL: i32 = 9;

/// How this process ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: u8,
    /// An error and its hint, unless a rank has said all.
    pub(super) said: Option<(String, Option<String>)>,
}

/// The first reason of a rank that failed by itself decides; where no rank left one, the first such rank.
pub(super) fn verdict(all: &AllEnded, reasons: &[Reason]) -> Verdict {
    let own: Vec<Reason> = reasons
        .iter()
        .filter(|it| !it.is_peer_lost)
        .cloned()
        .collect();
    if let Some(first) = Reason::first_of(&own) {
        return said_by(first, &own);
    }
    let failed: Vec<_> = all.ended.iter().filter(|it| !it.status.success()).collect();
    let by_itself = failed
        .iter()
        .find(|it| !it.was_stopped && it.status.code() != Some(i32::from(Exit::PeerFailed.code())));
    // Only force ended it.
    let hung = failed
        .iter()
        .find(|it| it.was_stopped && it.status.signal() == Some(SIGKILL));
    match (failed.first(), by_itself) {
        (None, _) => Verdict {
            code: Exit::Done.code(),
            said: None,
        },
        _ if all.is_interrupted => Verdict {
            code: Exit::Interrupted.code(),
            said: None,
        },
        (_, Some(ended)) => of_ended(ended),
        (_, None) if let Some(hung) = hung => Verdict {
            code: Exit::PeerFailed.code(),
            said: Some((
                format!("rank {} did not answer, and was killed", hung.rank),
                Some(
                    "the same command with `--resume auto` goes on from the last snapshot"
                        .to_owned(),
                ),
            )),
        },
        (Some(ended), None) => Reason::first_of(reasons)
            .map_or_else(|| of_ended(ended), |first| said_by(first, reasons)),
    }
}

/// The rank is named unless all that failed say the same.
fn said_by(first: &Reason, reasons: &[Reason]) -> Verdict {
    let is_common = reasons.len() > 1 && reasons.iter().all(|it| it.error == first.error);
    let error = if is_common {
        first.error.clone()
    } else {
        first.said()
    };
    Verdict {
        code: first.exit_code,
        said: Some((error, first.hint.clone())),
    }
}

/// A rank that left no reason.
fn of_ended(ended: &Ended) -> Verdict {
    let rank = ended.rank;
    match (ended.status.code(), ended.status.signal()) {
        (Some(code), _) => {
            let said = (
                format!("rank {rank} ended with exit code {code}"),
                Some("its own message is above".to_owned()),
            );
            Verdict {
                code: u8::try_from(code).unwrap_or(Exit::Failed.code()),
                said: Some(said).filter(|_| code != i32::from(Exit::Interrupted.code())),
            }
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let hint = (signal == SIGKILL).then_some(
                "the system kills processes when memory runs out: lower `--batch` or `--nproc`",
            );
            Verdict {
                code: Exit::Failed.code(),
                said: Some((
                    format!("rank {rank} was killed by signal {signal}"),
                    hint.map(str::to_owned),
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    /// Ended with a code, or by a signal if it is negative.
    fn ended(rank: usize, how: i32, was_stopped: bool) -> Ended {
        let raw = if how < 0 { -how } else { how << 8 };
        Ended {
            rank,
            status: ExitStatus::from_raw(raw),
            was_stopped,
        }
    }

    fn reason(rank: usize, is_peer_lost: bool, exit_code: u8, unix_ms: u64) -> Reason {
        Reason {
            rank,
            attempt: 0,
            is_peer_lost,
            error: format!("failure {exit_code}"),
            hint: Some(format!("hint {exit_code}")),
            exit_code,
            unix_ms,
        }
    }

    fn told(ended: Vec<Ended>, is_interrupted: bool, reasons: &[Reason]) -> String {
        let all = AllEnded {
            ended,
            is_interrupted,
        };
        let Verdict { code, said } = verdict(&all, reasons);
        let (error, hint) = said.unwrap_or_default();
        format!("{code}: {error}; {}", hint.unwrap_or_default())
    }

    #[test]
    fn the_first_reason_decides() {
        let ends = || vec![ended(0, 5, false), ended(1, 1, false)];
        let lost = reason(0, true, 5, 10);
        assert_eq!(
            told(vec![ended(1, 0, false), ended(0, 0, false)], true, &[]),
            "0: ; "
        );
        assert_eq!(
            told(ends(), false, &[lost.clone(), reason(1, false, 1, 20)]),
            "1: rank 1 ended the run: failure 1; hint 1"
        );
        // All of them say it: nobody is named.
        let common = [reason(0, false, 2, 10), reason(1, false, 2, 9)];
        assert_eq!(told(ends(), false, &common), "2: failure 2; hint 2");
        let common = common.map(|it| Reason {
            exit_code: 130,
            ..it
        });
        assert_eq!(told(ends(), true, &common), "130: failure 2; hint 2");
        let only_lost = vec![ended(0, 5, false), ended(1, 5, false)];
        assert_eq!(
            told(only_lost, false, std::slice::from_ref(&lost)),
            "5: rank 0 ended the run: failure 5; hint 5"
        );
    }

    #[test]
    fn a_rank_without_a_reason_decides_where_none_is_left() {
        let lost = reason(0, true, 5, 10);
        // Rank 0 noticed, was first to end, and knows no reason.
        let killed = vec![ended(0, 5, false), ended(1, -9, false)];
        assert_eq!(
            told(killed, false, &[lost]),
            "1: rank 1 was killed by signal 9; the system kills processes when memory runs out: lower `--batch` or \
             `--nproc`"
        );
        let panicked = vec![ended(1, 101, false), ended(0, -15, true)];
        assert_eq!(
            told(panicked, false, &[]),
            "101: rank 1 ended with exit code 101; its own message is above"
        );
        // Ctrl-C twice, or before a rank could listen.
        let interrupted = vec![ended(1, 130, false), ended(0, -2, false)];
        assert_eq!(told(interrupted, true, &[]), "130: ; ");
        assert_eq!(told(vec![ended(1, 130, false)], false, &[]), "130: ; ");
    }
}
