//! `torch.optim.AdamW(fused=True)`: the state is created before the first step, so that the first
//! step already shows the peak.

use tch::{Device, Kind, Tensor};
use torch_ext::Result;
use torch_ext::ops::{self, AdamWTensors};

/// AdamW over a fixed list of parameters.
#[derive(Debug)]
pub struct AdamW {
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    steps: Vec<Tensor>,
    /// All of `steps` in one tensor.
    step_counts: Tensor,
    /// Gradients are checked with this factor, fp32, one element.
    one: Tensor,
    hyper: ops::AdamW,
    num_moves: u64,
    /// Parameters that the present step has updated.
    num_moved: usize,
}

impl AdamW {
    /// Creates the state for `params` (fp32 leaves) with their strides: convert the parameters to
    /// their memory format first.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(params: Vec<Tensor>, lr: f64, weight_decay: f64) -> Result<Self> {
        let zeros = |params: &[Tensor]| -> Result<Vec<Tensor>> {
            params
                .iter()
                .map(|p| Ok(p.f_detach()?.f_zeros_like()?))
                .collect()
        };
        let num = i64::try_from(params.len()).unwrap_or(i64::MAX);
        let device = params.first().map_or(Device::Cpu, Tensor::device);
        let step_counts = Tensor::f_zeros([num], (Kind::Float, device))?;
        let steps = (0..num)
            .map(|i| Ok(step_counts.f_narrow(0, i, 1)?.f_data()?))
            .collect::<Result<_>>()?;
        Ok(Self {
            one: ops::one_value(1.0, device)?,
            step_counts,
            exp_avgs: zeros(&params)?,
            exp_avg_sqs: zeros(&params)?,
            steps,
            params,
            num_moves: 0,
            num_moved: 0,
            hyper: ops::AdamW {
                lr,
                beta1: 0.9,
                beta2: 0.999,
                weight_decay,
                eps: 1e-8,
            },
        })
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_lr(&mut self, lr: f64) {
        self.hyper.lr = lr;
    }

    /// The present learning rate.
    pub fn lr(&self) -> f64 {
        self.hyper.lr
    }

    /// Handles on its state: both moments of every parameter, and its step counts.
    #[doc(alias = "state_dict")]
    pub fn state(&self) -> impl Iterator<Item = Tensor> {
        let lists = [&self.exp_avgs, &self.exp_avg_sqs, &self.steps];
        lists.into_iter().flatten().map(Tensor::shallow_clone)
    }

    /// A handle on its step counts, one for each parameter.
    pub fn step_counts(&self) -> Tensor {
        self.step_counts.shallow_clone()
    }

    /// Handles on its state by kind, each list in the order of the parameters.
    pub fn state_by_kind(&self) -> [(&'static str, &[Tensor]); 3] {
        [
            ("exp_avg", &self.exp_avgs),
            ("exp_avg_sq", &self.exp_avg_sqs),
            ("step", &self.steps),
        ]
    }

    /// The parameters, in their order.
    pub fn parameters(&self) -> &[Tensor] {
        &self.params
    }

    /// Handles on the gradients that exist.
    pub fn defined_gradients(&self) -> Vec<Tensor> {
        self.params
            .iter()
            .map(Tensor::grad)
            .filter(Tensor::defined)
            .collect()
    }

    /// One step over the parameters that have a gradient, skipped on the device if a gradient is not
    /// finite. Returns 1 (fp32, one element, on the device) if it was skipped, otherwise 0; the host does
    /// not wait for the device.
    ///
    /// # Errors
    /// The errors of [`Self::fused_step`].
    pub fn step_if_finite(&mut self) -> Result<Tensor> {
        let found_inf = self.one.f_zeros_like()?;
        let gradients = self.defined_gradients();
        ops::amp_non_finite_check_and_unscale(&gradients, &found_inf, &self.one)?;
        self.fused_step(None, Some(&found_inf))?;
        Ok(found_inf)
    }

    /// One step over the parameters that have a gradient.
    ///
    /// On the CPU, where each parameter is updated by itself, a failed step can be retried: it
    /// continues with the parameter at which it failed ([`Self::is_under_way`]).
    ///
    /// # Errors
    /// If an operand does not fit.
    pub fn fused_step(
        &mut self,
        grad_scale: Option<&Tensor>,
        found_inf: Option<&Tensor>,
    ) -> Result<()> {
        let with_grad: Vec<usize> = (0..self.params.len())
            .filter(|&i| self.params[i].grad().defined())
            .collect();
        let is_cuda = self.params.first().is_some_and(|p| p.device().is_cuda());
        if is_cuda {
            self.move_some(&with_grad, grad_scale, found_inf)?;
        }
        while !is_cuda && self.num_moved < with_grad.len() {
            let index = with_grad[self.num_moved];
            let count = self.steps[index].f_double_value(&[0])?;
            if let Err(error) = self.move_some(&[index], grad_scale, found_inf) {
                // The count comes first; the parameter is not updated yet.
                let _count = tch::no_grad(|| self.steps[index].f_fill_(count))?;
                return Err(error);
            }
            self.num_moved += 1;
        }
        self.num_moved = 0;
        self.num_moves += 1;
        Ok(())
    }

    fn move_some(
        &self,
        indices: &[usize],
        grad_scale: Option<&Tensor>,
        found_inf: Option<&Tensor>,
    ) -> Result<()> {
        let pick = |list: &[Tensor]| -> Vec<Tensor> {
            indices.iter().map(|&i| list[i].shallow_clone()).collect()
        };
        let grads: Vec<Tensor> = indices.iter().map(|&i| self.params[i].grad()).collect();
        let tensors = AdamWTensors {
            params: &pick(&self.params),
            grads: &grads,
            exp_avgs: &pick(&self.exp_avgs),
            exp_avg_sqs: &pick(&self.exp_avg_sqs),
            steps: &pick(&self.steps),
        };
        ops::fused_adamw(&tensors, self.hyper, grad_scale, found_inf)
    }

    /// Whether a step failed after updating some parameters: it can be continued, but not undone.
    pub fn is_under_way(&self) -> bool {
        self.num_moved > 0
    }

    /// How often the parameters were updated, skipped steps included: a step that fails after its
    /// update cannot be retried.
    pub fn num_moves(&self) -> u64 {
        self.num_moves
    }

    /// The parameters were updated by a step that was recorded before.
    pub(crate) const fn has_moved(&mut self) {
        self.num_moves += 1;
    }

    /// Takes back steps that were recorded and not taken.
    pub(crate) const fn take_back_to(&mut self, num_moves: u64) {
        self.num_moves = num_moves;
    }

    /// Sets all gradients to none.
    ///
    /// # Errors
    /// Never in practice.
    pub fn zero_grad(&mut self) -> Result<()> {
        self.params.iter().try_for_each(ops::clear_grad)
    }
}

/// `CosineAnnealingLR` to zero: the learning rate of `epoch` (from 0) of `epochs`.
pub fn cosine_lr(lr: f64, epoch: u32, epochs: u32) -> f64 {
    let progress = f64::from(epoch.min(epochs)) / f64::from(epochs.max(1));
    0.5 * lr * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_starts_at_lr_and_ends_at_zero() {
        assert!((cosine_lr(0.1, 0, 10) - 0.1).abs() < 1e-12);
        assert!((cosine_lr(0.1, 5, 10) - 0.05).abs() < 1e-12);
        assert!(cosine_lr(0.1, 10, 10).abs() < 1e-12);
    }
}
