//! Sums of gradients over ranks.
//!
//! Gradients travel in buckets: small ones together, large ones in pieces. A bucket holds elements in the order of memory,
//! so the strides of a gradient must be equal on all ranks; those of its parameter are.

use std::ops::Range;

use ranks::Buckets;
use tch::{Device, Kind, Tensor};
use torch_ext::distributed::flat_view;
use torch_ext::function::accumulate_grad;
use torch_ext::ops::clear_grad;

use super::transport::Transport;

/// Results of operations on tensors, also of those in the middle of a backward.
type Result<T, E = torch_ext::Error> = std::result::Result<T, E>;

/// Bytes of an element.
const ELEMENT: i64 = size_of::<f32>().cast_signed() as i64;

/// The gradients of a list of parameters, in its order; `None` where there is none.
pub(super) type Gradients = Vec<Option<Tensor>>;

/// Elements of one gradient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which gradient.
    pub(super) nth: usize,
    elements: Range<i64>,
}

/// Which elements of gradients with these numbers of elements travel together. The last layers come first, as in
/// backward.
pub(super) fn layout(lens: &[i64]) -> Vec<Vec<Piece>> {
    let mut left: i64 = lens.iter().sum();
    let [most, last] = sizes(left);
    let mut buckets: Vec<Vec<Piece>> = Vec::new();
    let mut room = 0;
    for (nth, &all) in lens.iter().enumerate().rev() {
        let mut start = 0;
        while start < all {
            if room == 0 {
                buckets.push(Vec::new());
                room = if left > last {
                    most.min(left - last)
                } else {
                    left
                };
            }
            let len = room.min(all - start);
            let elements = start..start + len;
            if let Some(bucket) = buckets.last_mut() {
                bucket.push(Piece { nth, elements });
            }
            (start, room, left) = (start + len, room - len, left - len);
        }
    }
    buckets
}

/// Elements of a bucket at most, and of the last one, if all gradients together have `elements`.
fn sizes(elements: i64) -> [i64; 2] {
    let buckets = Buckets::of((ELEMENT * elements).cast_unsigned());
    [buckets.most, buckets.last].map(|bytes| bytes.cast_signed() / ELEMENT)
}

/// The elements of the largest of these buckets.
pub(super) fn largest(buckets: &[Vec<Piece>]) -> i64 {
    let len = |bucket: &Vec<Piece>| {
        bucket
            .iter()
            .map(|it| it.elements.end - it.elements.start)
            .sum()
    };
    buckets.iter().map(len).max().unwrap_or(0)
}

/// Elements that travel together, as views of one dimension on gradients.
#[derive(Debug)]
pub(super) struct Bucket(Vec<Tensor>);

impl Bucket {
    /// These pieces of gradients.
    pub(super) fn of<'a>(
        pieces: &[Piece],
        gradient: impl Fn(usize) -> Result<&'a Tensor>,
    ) -> Result<Self> {
        let view = |piece: &Piece| {
            let Range { start, end } = piece.elements;
            let flat = flat_view(gradient(piece.nth)?)?;
            Ok(flat.f_narrow(0, start, end - start)?)
        };
        Ok(Self(pieces.iter().map(view).collect::<Result<_>>()?))
    }

    pub(super) fn len(&self) -> i64 {
        let lens = self.0.iter().map(|it| it.numel().cast_signed() as i64);
        lens.sum()
    }

    /// Its elements where they lie, if they lie together.
    pub(super) fn as_one(&self) -> Option<Tensor> {
        match &self.0[..] {
            [piece] => Some(piece.shallow_clone()),
            _ => None,
        }
    }

    /// Its elements in one tensor, in `room` unless they lie together.
    pub(super) fn packed(&self, room: &Tensor) -> Result<Tensor> {
        if let Some(one) = self.as_one() {
            return Ok(one);
        }
        let packed = room.f_narrow(0, 0, self.len())?;
        Ok(Tensor::f_cat_out(&packed, &self.0, 0)?)
    }

    /// Copies `packed` back to the gradients, unless it lies there.
    pub(super) fn unpack(&self, packed: &Tensor) -> Result<()> {
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

/// The elements of these gradients in buckets.
fn buckets(gradients: &[Tensor]) -> Result<Vec<Bucket>> {
    let bucket = |pieces: &Vec<Piece>| Bucket::of(pieces, |nth| Ok(&gradients[nth]));
    layout(&lens(gradients)).iter().map(bucket).collect()
}

/// How many elements each of these has.
pub(super) fn lens(tensors: &[Tensor]) -> Vec<i64> {
    let lens = tensors.iter().map(|it| it.numel().cast_signed() as i64);
    lens.collect()
}

/// Sums these gradients over all ranks in the order of micro-batches. `sums` are the gradients of this rank's first
/// micro-batch, or zeros; `mine` are those of the others, and the number of micro-batches that each rank has.
pub(super) fn sum_in_order(
    data: &Transport,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_travels_once_and_the_first_layers_last_and_few() {
        // A small network, one of 31 million parameters, one gradient larger than a bucket.
        for lens in [
            vec![3, 5, 0, 7],
            vec![1_000, 40_000, 9_437_184, 1_024, 18_874_368, 3_000_000],
            vec![64, 26_214_400],
        ] {
            let buckets = layout(&lens);
            let mut next: Vec<i64> = vec![0; lens.len()];
            let mut last = lens.len();
            for Piece { nth, elements } in buckets.iter().flatten() {
                assert!(*nth <= last && elements.start == next[*nth]);
                (last, next[*nth]) = (*nth, elements.end);
            }
            assert_eq!(next, lens);
            let all: i64 = lens.iter().sum();
            let [most, final_one] = sizes(all);
            assert!(largest(&buckets) <= most);
            assert!(largest(&buckets[buckets.len() - 1..]) <= final_one);
            let bytes = (ELEMENT * all).cast_unsigned();
            assert_eq!(buckets.len() as u64, Buckets::of(bytes).num(bytes));
        }
        assert_eq!(layout(&[3, 5, 0, 7]).len(), 1);
        assert!(layout(&[64, 26_214_400]).len() >= 5);
    }
}
