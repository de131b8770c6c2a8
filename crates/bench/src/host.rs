//! Measures host work: the share of a step that is spent outside of kernels.

use config::{CheckpointPolicy, ImageSize};

use crate::case::Case;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::protocol::{Answer, Spec, WorkerRequest};
use crate::results::HostRow;
use crate::session::Session;
use crate::worker::{Failure, Worker};

/// The widths of a narrow network, whose kernels are short, and of the guide's.
const WIDTHS: [u32; 2] = [8, 64];
const SMALLEST_STEPS: u32 = 50;

/// Measures host work without and with mixed precision. A case that cannot be measured is left out,
/// with the reason.
pub(crate) fn measure(
    session: &mut Session<'_>,
    matrix: &Matrix,
) -> Result<(Vec<HostRow>, Vec<String>)> {
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for precision in [Some(matrix.full()), matrix.half()].into_iter().flatten() {
        let plain = matrix.case(precision, CheckpointPolicy::Off);
        let smallest = Case {
            img_size: ImageSize::new(16, 16),
            width: 8,
            batch: 2,
            ..plain
        };
        let smallest_step_ms = match ask(session, &smallest, SMALLEST_STEPS)? {
            Ok((step_ms, _)) => step_ms,
            Err(failure) => {
                left_out.push(format!("host: {smallest}: {}", failure.message()));
                continue;
            }
        };
        for width in WIDTHS {
            // On a CPU the wide network takes seconds per image.
            let batch = if matrix.cuda { matrix.work.batch } else { 1 };
            let count = if width > 8 && !matrix.cuda { 5 } else { 20 };
            let case = Case {
                width,
                batch,
                ..plain
            };
            (session.say)(&format!("host: {case}"));
            match ask(session, &case, count)? {
                Ok((step_ms, host_ms)) => rows.push(HostRow {
                    width,
                    img_size: [case.img_size.height, case.img_size.width],
                    batch,
                    recipe: case.recipe(),
                    step_ms,
                    host_ms,
                    smallest_step_ms,
                }),
                Err(failure) => left_out.push(format!("host: {case}: {}", failure.message())),
            }
        }
    }
    Ok((rows, left_out))
}

fn ask(session: &Session<'_>, case: &Case, count: u32) -> Result<Result<(f64, f64), Failure>> {
    let spec = Spec::new(case, session.device, session.threads);
    let mut worker = match Worker::start(session.programs, &spec)? {
        Ok(worker) => worker,
        Err(failure) => return Ok(Err(failure)),
    };
    Ok(match worker.ask(&WorkerRequest::Host { count }) {
        Ok(Answer::Host { step_ms, host_ms }) => Ok((step_ms, host_ms)),
        Ok(other) => Err(Failure::misplaced(&other)),
        Err(failure) => Err(failure),
    })
}
