//! Sums of gradients over ranks.
//!
//! Gradients travel in buckets: small ones together, large ones in pieces. A bucket holds elements in the order of memory,
//! so the strides of a gradient must be equal on all ranks; those of its parameter are.

use std::str::FromStr;

use tch::{Device, Kind, Tensor};
use torch_ext::distributed::flat_view;
use torch_ext::function::accumulate_grad;
use torch_ext::ops::clear_grad;

use super::transport::{Transport, UnderWay};
use crate::error::Result;

/// How gradients are summed over ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// After backward, in whatever order is fastest. All ranks get the same bits. With two ranks of one micro-batch each,
    /// they are those of one process that accumulates.
    #[default]
    After,
    /// After backward, micro-batch by micro-batch in their order: the bits of one process that accumulates, for any number
    /// of ranks. Each rank holds the gradients of all its micro-batches, and sends more.
    Ordered,
}

impl FromStr for Reduction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "after" => Ok(Self::After),
            "ordered" => Ok(Self::Ordered),
            _ => Err("must be `after` or `ordered`".to_owned()),
        }
    }
}

/// Bytes of a bucket: enough for the speed of the network, and little next to the gradients of a network.
const BUCKET_BYTES: usize = 25 << 20;
/// Elements of a bucket.
const BUCKET: i64 = (BUCKET_BYTES / size_of::<f32>()).cast_signed() as i64;

/// The gradients of a list of parameters, in its order; `None` where there is none.
pub(super) type Gradients = Vec<Option<Tensor>>;

/// Room for two buckets: while one is under way, the next is packed.
#[derive(Debug)]
pub(super) struct Buckets([Tensor; 2]);

impl Buckets {
    /// Room for buckets of these gradients.
    pub(super) fn of(gradients: &[Tensor]) -> Result<Self> {
        let all: usize = gradients.iter().map(Tensor::numel).sum();
        let len = BUCKET.min(i64::try_from(all).unwrap_or(i64::MAX));
        let device = gradients.first().map_or(Device::Cpu, Tensor::device);
        let room = || Tensor::f_empty([len], (Kind::Float, device));
        Ok(Self([room()?, room()?]))
    }
}

/// Elements that travel together: pieces of gradients, as views of one dimension.
struct Bucket(Vec<Tensor>);

impl Bucket {
    fn len(&self) -> i64 {
        self.0
            .iter()
            .map(|it| it.numel().cast_signed() as i64)
            .sum()
    }

    /// Its elements in one tensor, in `room` unless they are one piece.
    fn packed(&self, room: &Tensor) -> Result<Tensor> {
        match &self.0[..] {
            [piece] => Ok(piece.shallow_clone()),
            pieces => {
                let packed = room.f_narrow(0, 0, self.len())?;
                Ok(Tensor::f_cat_out(&packed, pieces, 0)?)
            }
        }
    }

    /// Copies `packed` back to the gradients, unless it is the only piece.
    fn unpack(&self, packed: &Tensor) -> Result<()> {
        let mut start = 0;
        for mut piece in self.0.iter().map(Tensor::shallow_clone) {
            let len = piece.size1()?;
            if piece.data_ptr() != packed.data_ptr() {
                piece.f_copy_(&packed.f_narrow(0, start, len)?)?;
            }
            start += len;
        }
        Ok(())
    }
}

/// Sums these gradients over all ranks, in place.
pub(super) fn sum(
    data: Transport<'_>,
    gradients: &[Tensor],
    Buckets(rooms): &Buckets,
) -> Result<()> {
    let mut under_way = None;
    for (bucket, room) in buckets(gradients)?.into_iter().zip(rooms.iter().cycle()) {
        let mut packed = bucket.packed(room)?;
        let work = data.sum(&mut packed)?;
        if let Some(before) = under_way.replace((work, packed, bucket)) {
            finish(before)?;
        }
    }
    under_way.map_or(Ok(()), finish)
}

fn finish((work, packed, bucket): (UnderWay, Tensor, Bucket)) -> Result<()> {
    work.wait()?;
    bucket.unpack(&packed)
}

/// As [`sum`], in the order of micro-batches. `sums` are the gradients of this rank's first micro-batch, or zeros; `mine`
/// are those of the others, and the number of micro-batches that each rank has.
pub(super) fn sum_in_order(
    data: Transport<'_>,
    parameters: &[Tensor],
    sums: &[Tensor],
    (mine, nums): (Vec<Gradients>, &[usize]),
) -> Result<()> {
    let others: Vec<Vec<Bucket>> = mine
        .into_iter()
        .map(|gradients| {
            let whole = gradients.into_iter().zip(parameters);
            let whole = whole.map(|(it, parameter)| of_strides(it, parameter));
            buckets(&whole.collect::<Result<Vec<_>>>()?)
        })
        .collect::<Result<_>>()?;
    for (nth, bucket) in buckets(sums)?.iter().enumerate() {
        let len = bucket.len();
        let room = Tensor::f_zeros([len], (Kind::Float, device_of(parameters)))?;
        let mut rounds = vec![data.gather(&bucket.packed(&room)?)?];
        for round in 1..nums.iter().copied().max().unwrap_or(0) {
            let packed = match others.get(round - 1) {
                Some(other) => other[nth].packed(&room)?,
                None => room.shallow_clone(),
            };
            rounds.push(data.gather(&packed)?);
        }
        let mut sum: Option<Tensor> = None;
        for (rank, &num) in (0_i64..).zip(nums) {
            for gathered in &rounds[..num] {
                let one = gathered.f_narrow(0, rank * len, len)?;
                sum = Some(match sum {
                    Some(mut sum) => sum.f_add_(&one)?,
                    None => one,
                });
            }
        }
        if let Some(sum) = sum {
            bucket.unpack(&sum)?;
        }
    }
    Ok(())
}

fn device_of(parameters: &[Tensor]) -> Device {
    parameters.first().map_or(Device::Cpu, Tensor::device)
}

/// Takes the gradients away from their parameters.
pub(super) fn take(parameters: &[Tensor]) -> Result<Gradients> {
    let taken = parameters.iter().map(|parameter| {
        let gradient = parameter.grad();
        let gradient = gradient.defined().then_some(gradient);
        clear_grad(parameter)?;
        Ok(gradient)
    });
    taken.collect()
}

/// Gives the first of these gradients back to the parameters.
pub(super) fn give_back(parameters: &[Tensor], taken: &mut Vec<Gradients>) -> Result<()> {
    let first = if taken.is_empty() {
        Gradients::new()
    } else {
        taken.remove(0)
    };
    for (parameter, gradient) in parameters.iter().zip(first) {
        if let Some(gradient) = gradient {
            accumulate_grad(parameter, &gradient)?;
        }
    }
    Ok(())
}

/// The gradients of all parameters, each with the strides of its parameter; zeros where there was none.
pub(super) fn all(parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let whole = |parameter: &Tensor| {
        let gradient = parameter.grad();
        if gradient.defined() && gradient.stride() == parameter.stride() {
            return Ok(gradient);
        }
        let gradient = of_strides(gradient.defined().then_some(gradient), parameter)?;
        clear_grad(parameter)?;
        accumulate_grad(parameter, &gradient)?;
        Ok(parameter.grad())
    };
    parameters.iter().map(whole).collect()
}

fn of_strides(gradient: Option<Tensor>, parameter: &Tensor) -> Result<Tensor> {
    let parameter = parameter.f_detach()?;
    Ok(match gradient {
        Some(gradient) if gradient.stride() == parameter.stride() => gradient,
        Some(gradient) => {
            let mut copy = parameter.f_empty_like()?;
            copy.f_copy_(&gradient)?;
            copy
        }
        None => parameter.f_zeros_like()?,
    })
}

/// The elements of these gradients in buckets. The last layers come first, as in backward.
fn buckets(gradients: &[Tensor]) -> Result<Vec<Bucket>> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut room = 0;
    for gradient in gradients.iter().rev() {
        let flat = flat_view(gradient)?;
        let (mut start, all) = (0, flat.size1()?);
        while start < all {
            if room == 0 {
                buckets.push(Bucket(Vec::new()));
                room = BUCKET;
            }
            let len = room.min(all - start);
            if let Some(Bucket(pieces)) = buckets.last_mut() {
                pieces.push(flat.f_narrow(0, start, len)?);
            }
            start += len;
            room -= len;
        }
    }
    Ok(buckets)
}
