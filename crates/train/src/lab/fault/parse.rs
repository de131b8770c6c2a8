//! Faults as text.

use engine::fault::StepFault;

use super::{Fault, POINTS};

/// The forms of faults besides points.
pub(super) const FORMS: &str = "`oom:ALLOCATION@STEP`, `inf-gradients:TIMES@STEP`, \
     `nan-loss:TIMES@STEP`, `recompute:TIMES@STEP`, `death@STEP`, `hang@STEP`, `disk-full@SNAPSHOT`, each with `#RANK` for one of several ranks";

/// `oom:30@2,snapshot:written@3#1`: omitted numbers default to 1, and an omitted allocation to 0. Returns the faults of
/// rank `rank`: those of all ranks, and those with its number after `#`.
pub(super) fn all(text: &str, rank: usize) -> Result<Vec<Fault>, String> {
    let mut faults = Vec::new();
    for text in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let (what, of) = match text.split_once('#') {
            Some((what, of)) => {
                let of = of.parse::<usize>().ok();
                (
                    what,
                    Some(of.ok_or_else(|| format!("`{text}` is no fault"))?),
                )
            }
            None => (text, None),
        };
        let fault = fault(what)?;
        if of.is_none_or(|of| of == rank) {
            faults.push(fault);
        }
    }
    Ok(faults)
}

fn fault(text: &str) -> Result<Fault, String> {
    let unknown = || format!("`{text}` is no fault");
    let (name, at) = match text.split_once('@') {
        Some((name, at)) => {
            let at = at.parse().ok().filter(|at| *at > 0);
            (name, at.ok_or_else(unknown)?)
        }
        None => (text, 1),
    };
    if let Some(point) = POINTS.iter().find(|point| **point == name) {
        return Ok(Fault::Death { point, nth: at });
    }
    let (kind, number) = match name.split_once(':') {
        Some((kind, number)) => (kind, Some(number.parse::<u32>().ok().ok_or_else(unknown)?)),
        None => (name, None),
    };
    let times = |fault| Fault::Step {
        fault,
        step: at,
        times: number.map_or(1, u64::from),
    };
    Ok(match kind {
        "oom" => Fault::Step {
            fault: StepFault::OutOfMemory {
                after: number.unwrap_or(0),
            },
            step: at,
            times: 1,
        },
        "inf-gradients" => times(StepFault::InfiniteGradients),
        "nan-loss" => times(StepFault::NanLoss),
        "recompute" => times(StepFault::Recompute),
        "death" if number.is_none() => times(StepFault::Death),
        "hang" if number.is_none() => times(StepFault::Hang),
        "disk-full" if number.is_none() => Fault::DiskFull { nth: at },
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let step = |fault, step, times| Fault::Step { fault, step, times };
        let text =
            "snapshot:written@3, oom:30@2,inf-gradients:4@9#1,nan-loss,disk-full@2,nan-loss#0";
        let read = all(text, 1);
        assert_eq!(
            read.unwrap(),
            [
                Fault::Death {
                    point: "snapshot:written",
                    nth: 3
                },
                step(StepFault::OutOfMemory { after: 30 }, 2, 1),
                step(StepFault::InfiniteGradients, 9, 4),
                step(StepFault::NanLoss, 1, 1),
                Fault::DiskFull { nth: 2 },
            ]
        );
        assert_eq!(all(" ", 0), Ok(Vec::new()));
        for wrong in [
            "oom:x",
            "oom@-1",
            "oom@0",
            "snapshot:gone",
            "disk-full:2",
            "kill",
            "oom#x",
        ] {
            assert!(all(wrong, 0).is_err(), "{wrong}");
        }
    }
}
