//! What ranks exchange in a step besides gradients: the losses of batches, and what micro-batches did to the running
//! statistics of batch norm.
//!
//! Running statistics depend on the order of micro-batches. So each micro-batch starts from zeros, which leaves its own
//! part of the mean, and all ranks add the parts of all micro-batches in their order. The result has the same bits on
//! all ranks, and for every number of them above one; a process of its own rounds differently in the last bit.

use std::ops::Range;

use config::Reduction;
use tch::{Kind, Tensor};
use torch_ext::ops::{one_value, one_value_of};

use super::gradients::{self, Gradients};
use super::sending::Sending;
use super::trial::Trial;
use super::{Many, Team};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::model::MOMENTUM;

/// What a rank keeps of its micro-batches until the exchange.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The running statistics before the step.
    before: Option<Tensor>,
    /// What each micro-batch did to them.
    parts: Vec<Tensor>,
    /// The gradients of each micro-batch, for sums in their order.
    gradients: Vec<Gradients>,
    ready: Option<Ready>,
    sending: Option<Sending>,
    is_exchanged: bool,
}

/// What the exchange needs. It exists before ranks agree to go on, because a rank that runs out of memory after that ends
/// the run. [`Reduction::Ordered`] needs more, and takes that risk.
#[derive(Debug)]
struct Ready {
    /// The gradients of all parameters, zeros where this rank has none.
    gradients: Vec<Tensor>,
    /// The parts of all micro-batches, and the losses of all batches: zeros where others have their values, with which a sum
    /// changes nothing.
    all: Tensor,
    parts: Vec<Tensor>,
    losses: Vec<Tensor>,
    /// The weight of the statistics before a micro-batch.
    decay: Tensor,
    /// Micro-batches that the counters lack.
    uncounted: Tensor,
}

/// The micro-batches and batches of a step: how many all ranks have, and which of them this rank.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Of each rank, the images of each of its micro-batches.
    pub(crate) images: Vec<Vec<usize>>,
    /// How many batches all ranks have.
    pub(crate) batches: usize,
    /// Which of them are of this rank.
    pub(crate) mine: Range<usize>,
}

impl Places {
    /// Of each rank, how many micro-batches it has.
    fn nums(&self) -> Vec<usize> {
        self.images.iter().map(Vec::len).collect()
    }

    /// The most micro-batches that a rank has.
    fn most(&self) -> usize {
        self.images.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The images of those micro-batches that come as the `nth` of each rank.
    fn images_of(&self, nth: usize) -> usize {
        self.images.iter().filter_map(|it| it.get(nth)).sum()
    }

    /// For each micro-batch of `rank`, where its statistics go. Ranks that normalise together share a place, which the first of
    /// them fills.
    fn of_statistics(&self, rank: usize, is_together: bool) -> Vec<Option<usize>> {
        let (before, own) = (&self.images[..rank], self.images[rank].len());
        let first: usize = before.iter().map(Vec::len).sum();
        let place = |nth: usize| {
            if is_together {
                before.iter().all(|it| it.len() <= nth).then_some(nth)
            } else {
                Some(first + nth)
            }
        };
        (0..own).map(place).collect()
    }
}

impl Team {
    /// Whether all ranks have agreed to add up the gradients of the step: others may update their weights.
    pub(crate) fn has_exchanged(&self) -> bool {
        self.many
            .as_ref()
            .is_some_and(|many| many.kept.is_exchanged)
    }

    /// The first micro-batch of a step is about to begin. `recipe` is the [`ranks::fingerprint`] of the recipe.
    pub(crate) fn begin_step(
        &mut self,
        learner: &Learner,
        places: &Places,
        recipe: u64,
    ) -> Result<()> {
        match &mut self.many {
            Some(many) => many.begin_step(learner, places, recipe),
            None => Ok(()),
        }
    }

    /// The backward of one of this rank's micro-batches.
    pub(crate) fn backward(&self, learner: &Learner, places: &Places, loss: &Tensor) -> Result<()> {
        let compute = || learner.backward(loss);
        match &self.many {
            Some(many) => many.while_computing(places, compute),
            None => compute(),
        }
    }

    /// Takes part in the step that other ranks have begun, and that failed here, until all can agree.
    pub(crate) fn give_up_step(&mut self, learner: &Learner, places: &Places) -> Result<()> {
        match &mut self.many {
            Some(many) => many.give_up_step(learner, places),
            None => Ok(()),
        }
    }

    /// Keeps what a micro-batch changed.
    pub(crate) fn micro_batch_done(&mut self, learner: &Learner, places: &Places) -> Result<()> {
        match &mut self.many {
            Some(many) => many.keep(learner, places),
            None => Ok(()),
        }
    }

    /// All micro-batches of this rank are done, with these losses of its batches.
    pub(crate) fn prepare_exchange(
        &mut self,
        learner: &Learner,
        places: &Places,
        losses: &[Tensor],
    ) -> Result<()> {
        match &mut self.many {
            Some(many) => many.prepare(learner, places, losses),
            None => Ok(()),
        }
    }

    /// Sums gradients over the ranks, and replaces the losses of this rank's batches by those of all. Statistics of batch
    /// norm become what they are after the micro-batches of all ranks.
    pub(crate) fn exchange(
        &mut self,
        learner: &Learner,
        places: &Places,
        losses: &mut Vec<Tensor>,
    ) -> Result<()> {
        let Some(many) = &mut self.many else {
            return Ok(());
        };
        many.exchange(learner, places, losses)?;
        // All ranks get here equally often.
        let Some(found) = many.trial.done(learner.device()) else {
            return Ok(());
        };
        let found = self.told(|| found)?;
        if let Some(many) = &mut self.many {
            many.trial.decide(found.is_on);
            many.found = Some(found);
        }
        Ok(())
    }
}

impl Many {
    fn begin_step(&mut self, learner: &Learner, places: &Places, recipe: u64) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        self.kept.is_exchanged = false;
        if let Some(norms) = &self.norms {
            norms.begin();
            norms.expect(places.images_of(0));
        }
        if std::mem::replace(&mut self.recipe, recipe) != recipe {
            self.trial = Trial::default();
            self.kept.sending.iter().for_each(Sending::forget_order);
        }
        if self.reduction == Reduction::Auto && self.norms.is_none() {
            self.trial.begin(learner.device());
        }
        let [mut statistics, _] = learner.model.parameters().buffers();
        let before = match self.kept.before.take() {
            Some(mut before) => {
                before.f_copy_(&statistics)?;
                before
            }
            None => copied(&statistics)?,
        };
        self.kept = Kept {
            before: Some(before),
            sending: self.kept.sending.take(),
            ..Kept::default()
        };
        if self.reduction != Reduction::Ordered {
            self.sending(learner)?.make_room()?;
        }
        let _zero = statistics.f_zero_()?;
        Ok(())
    }

    /// Whether the gradients of the step travel during backward. They do not where batch norm does: operations of two groups
    /// would interleave differently on each rank.
    fn overlaps(&self) -> bool {
        match self.reduction {
            _ if self.norms.is_some() => false,
            Reduction::Auto => self.trial.overlaps(),
            Reduction::Overlap => true,
            Reduction::After | Reduction::Ordered => false,
        }
    }

    fn sending(&mut self, learner: &Learner) -> Result<&Sending> {
        let sending = match self.kept.sending.take() {
            Some(sending) => sending,
            None => Sending::new(self.peers.data().clone(), learner.optimizer.parameters())?,
        };
        Ok(self.kept.sending.insert(sending))
    }

    fn while_computing(&self, places: &Places, compute: impl FnOnce() -> Result<()>) -> Result<()> {
        let num = places.images[self.peers.shard().rank()].len();
        let is_last = self.kept.parts.len() + 1 == num;
        match &self.kept.sending {
            Some(sending) => sending.while_computing(is_last && self.overlaps(), compute),
            None => compute(),
        }
    }

    fn give_up_step(&mut self, learner: &Learner, places: &Places) -> Result<()> {
        self.complete_norms(learner, places)?;
        if self.overlaps() {
            self.sending(learner)?.give_up()?;
        }
        Ok(())
    }

    /// Takes part in what other ranks normalise, of which this one has no part.
    fn complete_norms(&self, learner: &Learner, places: &Places) -> Result<()> {
        let Some(norms) = &self.norms else {
            return Ok(());
        };
        let weights = learner.model.norms().map(|it| it.weight.shallow_clone());
        Ok(norms.complete(places.most(), &weights.collect::<Vec<_>>())?)
    }

    fn keep(&mut self, learner: &Learner, places: &Places) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let [mut statistics, _] = learner.model.parameters().buffers();
        self.kept.parts.push(copied(&statistics)?);
        let _zero = statistics.f_zero_()?;
        if self.reduction == Reduction::Ordered {
            let gradients = gradients::take(learner.optimizer.parameters())?;
            self.kept.gradients.push(gradients);
        }
        if let Some(norms) = &self.norms {
            norms.expect(places.images_of(self.kept.parts.len()));
        }
        Ok(())
    }

    fn prepare(&mut self, learner: &Learner, places: &Places, losses: &[Tensor]) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        self.complete_norms(learner, places)?;
        let [statistics, counters] = learner.model.parameters().buffers();
        let each = length(statistics.numel());
        let is_together = self.norms.is_some();
        let num_parts = if is_together {
            places.most()
        } else {
            places.nums().iter().sum()
        };
        let len = length(num_parts) * each + length(places.batches);
        let all = Tensor::f_zeros([len], (Kind::Float, learner.device()))?;
        let part = |nth| all.f_narrow(0, length(nth) * each, each);
        let parts = (0..num_parts).map(part).collect::<Result<Vec<_>, _>>()?;
        let loss = |nth| all.f_narrow(0, length(num_parts) * each + length(nth), 1);
        let all_losses = (0..places.batches).map(|nth| loss(nth)?.f_squeeze());
        let all_losses = all_losses.collect::<Result<Vec<_>, _>>()?;
        let mine = places.of_statistics(self.peers.shard().rank(), is_together);
        for (place, kept) in mine.into_iter().zip(&self.kept.parts) {
            if let Some(place) = place {
                parts[place].shallow_clone().f_copy_(kept)?;
            }
        }
        let mine = all_losses[places.mine.clone()].iter();
        for (loss, kept) in mine.zip(losses) {
            loss.shallow_clone().f_copy_(kept)?;
        }
        if self.reduction == Reduction::Ordered {
            gradients::give_back(learner.optimizer.parameters(), &mut self.kept.gradients)?;
        }
        let gradients = gradients::all(learner.optimizer.parameters())?;
        if self.overlaps() {
            self.sending(learner)?.send_rest()?;
        }
        let uncounted = num_parts as f64 - self.kept.parts.len() as f64;
        self.kept.ready = Some(Ready {
            gradients,
            parts,
            losses: all_losses,
            decay: one_value(1.0 - MOMENTUM, learner.device())?,
            uncounted: one_value_of(counters.kind(), uncounted, learner.device())?,
            all,
        });
        Ok(())
    }

    fn exchange(
        &mut self,
        learner: &Learner,
        places: &Places,
        losses: &mut Vec<Tensor>,
    ) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        // Others may update their weights from here on, whatever happens.
        self.kept.is_exchanged = true;
        let (Some(before), Some(mut ready)) = (self.kept.before.take(), self.kept.ready.take())
        else {
            return Err(Error::OtherRank {
                rank: self.peers.shard().rank(),
                what: ranks::What::Broken,
            });
        };
        let data = self.peers.data();
        if let Some(sending) = &self.kept.sending {
            if !self.overlaps() {
                sending.send_rest()?;
            }
            sending.finish()?;
        } else {
            let parameters = learner.optimizer.parameters();
            let mine = std::mem::take(&mut self.kept.gradients);
            let nums = places.nums();
            let mine = (mine, &nums[..]);
            gradients::sum_in_order(data, parameters, &ready.gradients, mine)?;
        }
        data.sum(&mut ready.all)?.wait()?;
        let [mut statistics, mut counters] = learner.model.parameters().buffers();
        statistics.f_copy_(&before)?;
        for part in &ready.parts {
            let _decayed = statistics.f_mul_(&ready.decay)?;
            let _sum = statistics.f_add_(part)?;
        }
        let _sum = counters.f_add_(&ready.uncounted)?;
        *losses = ready.losses;
        self.norms.iter().for_each(|norms| norms.begin());
        self.kept.before = Some(before);
        Ok(())
    }
}

fn length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn copied(tensor: &Tensor) -> Result<Tensor> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}
