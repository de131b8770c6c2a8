//! A model in evaluation: logits without gradients, and scores over a set.

use std::ops::Range;

use tch::Tensor;
use torch_ext::cuda;

use crate::batch::Upload;
use crate::compose::Autocast;
use crate::device;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::loss::{PixelWeight, segmentation_loss};
use crate::metrics::{Counter, Scores};
use crate::model::{ForwardMode, Kernels, UNet};
use crate::team::{Report, Team};
use config::Precision;
use data::{Batch, Loader};
use ranks::Epoch;

/// The numbers of a sample besides what is counted: its image, and the loss of its part, if it is the first of that.
const ROW: usize = 2;

/// A model in evaluation, in one precision on one device.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The model.
    pub model: &'a UNet,
    /// How its batches become tensors: the device and the memory format.
    pub upload: Upload,
    /// The precision of convolutions.
    pub precision: Precision,
    /// Whose code computes batch norm and ReLU.
    pub kernels: Kernels,
}

impl Evaluator<'_> {
    /// How the model runs in evaluation.
    pub const fn mode(&self) -> ForwardMode {
        ForwardMode::evaluation(self.kernels)
    }

    /// Logits of `images` without gradients, under autocast.
    ///
    /// # Errors
    /// If the size does not fit, or memory runs out.
    pub fn logits(&self, images: &Tensor, mode: &ForwardMode) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let _autocast = Autocast::enter(self.upload.device, self.precision)?;
        Ok(self.model.forward(images, mode)?)
    }

    /// Scores and mean loss over all of `loader`, by all ranks of `team` together. `None` after an interrupt.
    ///
    /// If memory runs out, the same images are retried in parts: a part has at most `at_a_time` images,
    /// and that number shrinks. The parts affect neither scores, which are averaged over images, nor the loss,
    /// which is averaged over samples: where samples are windows of images, the pixels of all windows of an image
    /// make one score, and each window has its own loss.
    ///
    /// Each rank computes some of the batches, and counts those of all ranks in their order: the result has the same
    /// bits on all ranks, and for every number of them.
    ///
    /// # Errors
    /// If the data or a tensor operation fails, or a single image does not fit in memory, on any rank.
    pub fn evaluate(
        &self,
        loader: &Loader,
        at_a_time: &mut usize,
        team: &mut Team,
        interrupt: &Interrupt,
    ) -> Result<Option<(Scores, f64)>> {
        let counted = self.count(loader, at_a_time, team, interrupt)?;
        Ok(counted.map(|(counter, loss)| (counter.scores(), loss)))
    }

    /// As [`Self::evaluate`], with everything that was counted.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn count(
        &self,
        loader: &Loader,
        at_a_time: &mut usize,
        team: &mut Team,
        interrupt: &Interrupt,
    ) -> Result<Option<(Counter, f64)>> {
        let mut counter = Counter::of(self.model.network());
        let (mut loss_sum, mut num_samples) = (0.0, 0);
        let shard = team.shard();
        let epoch = Epoch {
            samples: loader.num_samples(),
            batch: loader.config().batch,
            accumulation: shard.size(),
        };
        let mut batches = loader.epoch_of(0, shard.micro_batches(epoch, 0));
        for group in epoch.groups(0) {
            if team.stops(interrupt) {
                return Ok(None);
            }
            let step = group.start as u64;
            let part = shard.part(group.len());
            let mut rows = Vec::new();
            for batch in batches.by_ref().take(part.len()) {
                let counted = batch
                    .map_err(Error::from)
                    .and_then(|batch| self.count_batch(&batch, at_a_time, &counter, &mut rows));
                counted.map_err(|error| team.leave(Report::of(step, Some(&error)), error))?;
            }
            team.agree_to_go_on(&Report {
                interrupt: interrupt.requested(),
                ..Report::of(step, None)
            })?;
            // Zeros where others have their samples: a sum with them changes nothing.
            let images = epoch.images(&group);
            let before = epoch.images(&(group.start..group.start + part.start));
            let row = ROW + counter.num_cells();
            let mut all = vec![0; before * row];
            all.append(&mut rows);
            all.resize(images * row, 0);
            for row in team.sums(all)?.chunks_exact(row) {
                if let [image, loss, counts @ ..] = row {
                    loss_sum += f64::from_bits(loss.cast_unsigned());
                    counter.add_window(usize::try_from(*image).unwrap_or(0), counts);
                }
            }
            num_samples += images;
        }
        counter.end_image();
        let loss = loss_sum / num_samples.max(1) as f64;
        Ok(Some((counter, loss)))
    }

    /// Appends the samples of `batch` to `rows`, in parts of at most `at_a_time`.
    fn count_batch(
        &self,
        batch: &Batch,
        at_a_time: &mut usize,
        counter: &Counter,
        rows: &mut Vec<i64>,
    ) -> Result<()> {
        let mut done = 0;
        while done < batch.len {
            let part = done..batch.len.min(done.saturating_add(*at_a_time));
            let num = part.len();
            cuda::watch_refusals();
            match self.count_part(batch, part.clone(), counter) {
                Ok((loss, counts)) => {
                    let mut loss = loss * num as f64;
                    let samples = counts.chunks_exact(counter.num_cells());
                    for (image, counts) in batch.image_indices[part].iter().zip(samples) {
                        rows.push(i64::try_from(*image).unwrap_or(i64::MAX));
                        rows.push(std::mem::take(&mut loss).to_bits().cast_signed());
                        rows.extend_from_slice(counts);
                    }
                    done += num;
                }
                Err(error) if error.is_out_of_memory() && num > 1 => {
                    *at_a_time = num.div_ceil(2);
                    device::empty_cache(self.upload.device)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The mean loss of a part of `batch`, and what is counted of each sample.
    fn count_part(
        &self,
        batch: &Batch,
        part: Range<usize>,
        counter: &Counter,
    ) -> Result<(f64, Vec<i64>)> {
        let _no_grad = tch::no_grad_guard();
        let ignoring = PixelWeight::of(batch).map(|it| it.of_part(part.len(), batch.len));
        let (images, masks) = self.upload.part(batch, part)?;
        let logits = self.logits(&images, &self.mode())?;
        let loss = segmentation_loss(&logits, &masks, ignoring)?.f_double_value(&[])?;
        Ok((loss, counter.counts(&logits, &masks)?))
    }

    /// Adds the scores of a part of `batch` to `counter`, whose last image stays open for more of its windows.
    /// Returns its mean loss.
    ///
    /// # Errors
    /// If a tensor operation fails; nothing is counted then.
    pub fn score(&self, batch: &Batch, part: Range<usize>, counter: &mut Counter) -> Result<f64> {
        let (loss, counts) = self.count_part(batch, part.clone(), counter)?;
        counter.add_counts(&counts, &batch.image_indices[part]);
        Ok(loss)
    }
}
