//! Who trains together: a process of its own, or several that each compute a part of every step.
//!
//! The loop is the same for both: a process of its own is a team of one, whose operations between ranks do nothing.
//!
//! A step of several ranks goes like this:
//!
//! 1. Each rank adds up the gradients of its micro-batches. Operations with others may be on their way meanwhile; a rank
//!    that fails takes part in all of them nevertheless.
//! 2. All say how that went, and draw the same conclusion ([`Team::agree`]). If one failed, all undo the step and take
//!    the rung that rank 0 chooses.
//! 3. Gradients are summed over the ranks ([`Reduction`]), never averaged: the loss of each image was weighted by
//!    all images of the step. The losses of all batches travel with them, and what each micro-batch did to the running
//!    statistics of batch norm.
//! 4. Each rank updates its own copy of the weights. All copies have the same bits.

mod exchange;
mod gradients;
mod norms;
mod peers;
mod sending;
mod transport;
mod trial;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Reduction;
use ranks::{Shard, Status, Verdict, What, merge, merge_gathered};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::learner::Learner;
pub(crate) use exchange::Places;
pub use peers::{Patience, Peers, Waiting};
pub use trial::Overlap;

/// The ranks of a run, as one of them sees them.
#[derive(Debug, Default)]
pub struct Team {
    many: Option<Many>,
    /// Whether all agreed to stop.
    stops: bool,
    /// What was agreed on last, if it was not to go on.
    objection: Option<Verdict>,
    /// Which of several ranks failed last.
    failed_rank: Option<usize>,
    /// How long this rank has waited for others to agree.
    waited: Duration,
}

#[derive(Debug)]
struct Many {
    peers: Rc<Peers>,
    reduction: Reduction,
    kept: exchange::Kept,
    /// [`ranks::fingerprint`] of the recipe of the last step.
    recipe: u64,
    trial: trial::Trial,
    found: Option<Overlap>,
    norms: Option<Arc<norms::Norms>>,
}

impl Many {
    /// The numbers of all ranks in their order. It is a sum with zeros: a gather of Gloo allocates tensors of its own while
    /// others wait.
    fn of_all_ranks(&self, own: &[i64]) -> Result<Vec<i64>> {
        let shard = self.peers.shard();
        let mut all = vec![0; own.len() * shard.size()];
        all[own.len() * shard.rank()..][..own.len()].copy_from_slice(own);
        self.sums(&all)
    }

    fn sums(&self, numbers: &[i64]) -> Result<Vec<i64>> {
        let mut sums = Tensor::f_from_slice(numbers)?;
        self.peers.control().all_reduce_sum(&mut sums)?.wait(None)?;
        Ok(Vec::try_from(sums)?)
    }
}

/// What a rank says of its part of a step.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Optimizer steps done.
    pub step: u64,
    /// How it went.
    pub what: What,
    /// The bytes that are missing, if memory is and their number is known.
    pub missing_bytes: Option<u64>,
    /// A stop is wanted.
    pub interrupt: bool,
    /// [`ranks::fingerprint`] of the recipe.
    pub recipe: u64,
}

/// One of several ranks in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankShare {
    /// How long it waited for the others.
    pub waited: Duration,
    /// How long it waited for data.
    pub data: Duration,
    /// Its peak of tensor bytes so far.
    pub peak_bytes: u64,
}

impl Report {
    /// What a rank says of a part that ended with `error`, or went well.
    pub(crate) fn of(step: u64, error: Option<&Error>) -> Self {
        let (what, missing_bytes) = match error.map(Error::failure) {
            None => (What::Fine, None),
            Some(None) => (What::DataError, None),
            Some(Some(failure)) => failure.for_ranks(),
        };
        Self {
            step,
            what,
            missing_bytes,
            interrupt: false,
            recipe: 0,
        }
    }
}

impl Team {
    /// A process of its own.
    pub fn alone() -> Self {
        Self::default()
    }

    /// One of several.
    pub fn many(peers: Rc<Peers>, reduction: Reduction) -> Self {
        Self {
            many: Some(Many {
                peers,
                reduction,
                kept: exchange::Kept::default(),
                recipe: 0,
                trial: trial::Trial::default(),
                found: None,
                norms: None,
            }),
            ..Self::default()
        }
    }

    /// Several ranks normalise their micro-batches together from now on, as one larger one: the `nth` of each rank. Changes the
    /// model of `learner`. All ranks call this.
    ///
    /// # Errors
    /// If a rank is gone.
    pub(crate) fn normalise_together(&mut self, learner: &mut Learner) -> Result<()> {
        if let Some(many) = &mut self.many {
            let group = many.peers.another_group("norms")?;
            let norms = norms::Norms::new(group, many.peers.shard(), learner.device())?;
            learner.model.normalise(Arc::<norms::Norms>::clone(&norms));
            many.norms = Some(norms);
        }
        Ok(())
    }

    /// Whether this process trains without others.
    pub const fn is_alone(&self) -> bool {
        self.many.is_none()
    }

    /// The rank, and the number of ranks.
    pub fn shard(&self) -> Shard {
        self.many
            .as_ref()
            .map_or(Shard::ALONE, |many| many.peers.shard())
    }

    /// Whether this rank decides where only one can, and tells the user.
    pub fn is_first(&self) -> bool {
        self.shard().rank() == 0
    }

    /// Says how this rank's part went, hears it from all others, and returns what all ranks do now. Every rank calls this
    /// equally often.
    ///
    /// # Errors
    /// If another rank is gone, or does not answer in time.
    pub fn agree(&mut self, report: &Report) -> Result<Verdict> {
        let status = Status {
            shard: self.shard(),
            step: report.step,
            what: report.what,
            missing_bytes: report.missing_bytes,
            interrupt: report.interrupt,
            recipe: report.recipe,
        };
        let verdict = match &self.many {
            None => merge(&[status])?,
            Some(many) => {
                let begun = Instant::now();
                // Otherwise a GPU would wait for these operations when its memory is freed, and they never end.
                let words = many.of_all_ranks(&status.encode());
                let words = words.inspect_err(|_| many.peers.abort_data())?;
                self.waited += begun.elapsed();
                merge_gathered(&words)?
            }
        };
        self.stops = matches!(verdict, Verdict::GoOn { interrupt: true });
        self.failed_rank = match verdict {
            Verdict::Undo { rank, .. } | Verdict::Leave { rank, .. } => Some(rank),
            _ => None,
        }
        .filter(|_| !self.is_alone());
        Ok(verdict)
    }

    /// As [`Self::agree`] after a part that went well.
    ///
    /// # Errors
    /// As there, and [`Error::OtherRank`] if another rank's part failed: then [`Self::objection`] has the verdict.
    pub(crate) fn agree_to_go_on(&mut self, report: &Report) -> Result<()> {
        let verdict = self.agree(report)?;
        let (rank, what) = match verdict {
            Verdict::GoOn { .. } => return Ok(()),
            Verdict::Disagree(error) => return Err(error.into()),
            Verdict::Undo { rank, what, .. } | Verdict::Leave { rank, what } => (rank, what),
        };
        self.objection = Some(verdict);
        Err(Error::OtherRank { rank, what })
    }

    /// Tells the others that this rank cannot go on. Returns the reason.
    pub(crate) fn leave(&mut self, report: Report, error: Error) -> Error {
        // The others cannot help.
        drop(self.agree(&report));
        error
    }

    /// The verdict that ended [`Self::agree_to_go_on`], once.
    pub(crate) const fn objection(&mut self) -> Option<Verdict> {
        self.objection.take()
    }

    /// What was found of gradients that travel during backward, once.
    pub(crate) fn found(&mut self) -> Option<Overlap> {
        self.many.as_mut()?.found.take()
    }

    /// Which of several ranks failed last.
    pub const fn failed_rank(&self) -> Option<usize> {
        self.failed_rank
    }

    /// Whether the run stops here, after a step or a part of a validation: what all agreed on, or for a process of its own
    /// what is wanted by now.
    pub(crate) fn stops(&self, interrupt: &Interrupt) -> bool {
        if self.is_alone() {
            interrupt.requested()
        } else {
            self.stops
        }
    }

    /// What rank 0 says. All ranks call this; `say` is called on rank 0 only.
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub fn told<T: Serialize + DeserializeOwned>(&self, say: impl FnOnce() -> T) -> Result<T> {
        let Some(many) = &self.many else {
            return Ok(say());
        };
        let control = many.peers.control();
        let text = self
            .is_first()
            .then(|| serde_json::to_vec(&say()).map_err(Error::told))
            .transpose()?
            .unwrap_or_default();
        let mut len = Tensor::f_from_slice(&[i64::try_from(text.len()).unwrap_or(i64::MAX)])?;
        control.broadcast(&mut len, 0)?.wait(None)?;
        let mut bytes = if self.is_first() {
            Tensor::f_from_slice(&text)?
        } else {
            Tensor::f_zeros([len.f_int64_value(&[0])?], (Kind::Uint8, tch::Device::Cpu))?
        };
        control.broadcast(&mut bytes, 0)?.wait(None)?;
        serde_json::from_slice(&Vec::<u8>::try_from(bytes)?).map_err(Error::told)
    }

    /// What all ranks say of the time since they were last asked, and of their memory; nothing for a process of its own.
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub(crate) fn compare(&mut self, data: Duration, peak_bytes: u64) -> Result<Vec<RankShare>> {
        let waited = std::mem::take(&mut self.waited);
        let Some(many) = &self.many else {
            return Ok(Vec::new());
        };
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let bytes = i64::try_from(peak_bytes).unwrap_or(i64::MAX);
        let all = many.of_all_ranks(&[micros(waited), micros(data), bytes])?;
        let (shares, _) = all.as_chunks();
        let share = |&[waited, data, bytes]: &[i64; 3]| RankShare {
            waited: Duration::from_micros(waited.cast_unsigned()),
            data: Duration::from_micros(data.cast_unsigned()),
            peak_bytes: bytes.cast_unsigned(),
        };
        Ok(shares.iter().map(share).collect())
    }

    /// The least of the numbers that all ranks say.
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub fn least(&self, own: u64) -> Result<u64> {
        Ok(self.rank_with_least(own)?.1)
    }

    /// The first rank that says the least of all numbers, and this number.
    fn rank_with_least(&self, own: u64) -> Result<(usize, u64)> {
        let Some(many) = &self.many else {
            return Ok((0, own));
        };
        let all = many.of_all_ranks(&[own.cast_signed()])?;
        let all = all.into_iter().map(i64::cast_unsigned).enumerate();
        Ok(all.min_by_key(|(_, number)| *number).unwrap_or((0, own)))
    }

    /// How many images of a validation all ranks compute at a time from now on, after one that began with
    /// `before` and in which this rank came down to `own`: as many as the rank with the least memory. If that is fewer
    /// than before, it is the one that [failed](Self::failed_rank).
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub(crate) fn images_at_a_time(&mut self, before: usize, own: usize) -> Result<usize> {
        let (rank, least) = self.rank_with_least(own as u64)?;
        let least = usize::try_from(least).unwrap_or(own);
        self.failed_rank = (!self.is_alone() && least < before).then_some(rank);
        Ok(least)
    }

    /// Sums numbers over all ranks, each at its place.
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub(crate) fn sums(&self, numbers: Vec<i64>) -> Result<Vec<i64>> {
        match &self.many {
            Some(many) => many.sums(&numbers),
            None => Ok(numbers),
        }
    }

    /// Copies these tensors from rank 0 to all others. Their strides are equal on all ranks.
    ///
    /// # Errors
    /// As [`Self::agree`].
    pub(crate) fn copy_from_first(&self, tensors: &[Tensor]) -> Result<()> {
        let Some(many) = &self.many else {
            return Ok(());
        };
        let _no_grad = tch::no_grad_guard();
        for tensor in tensors {
            let mut flat = torch_ext::distributed::flat_view(&tensor.f_detach()?)?;
            many.peers.data().copy_from_first(&mut flat)?.wait()?;
        }
        Ok(())
    }
}
