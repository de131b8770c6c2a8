//! Gradients on their way to other ranks, after backward or during it.
//!
//! All ranks send the same buckets in the same order, each bucket as soon as the rank has it. If a step fails on one rank,
//! the others may already wait for buckets that it has not sent. It then sends arbitrary bytes in their place, so that no
//! rank runs into a timeout. All ranks undo the step afterwards, and the sums are never used.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::{Kind, Tensor};
use torch_ext::function::on_gradient;
use torch_ext::{BoxError, Error, Result};

use super::gradients::{Bucket, Piece, largest, layout, lens};
use super::transport::{Transport, UnderWay};

/// The gradients of a network, as one rank sends them.
#[derive(Debug)]
pub(super) struct Sending {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    transport: Transport,
    parameters: Vec<Tensor>,
    layout: Vec<Vec<Piece>>,
    /// Where buckets of several pieces are packed: while one is under way, the next is packed.
    rooms: Option<[Tensor; 2]>,
    next_room: usize,
    /// Buckets of this step that were sent.
    sent: usize,
    under_way: VecDeque<Sent>,
    hearing: Hearing,
    /// How often each parameter has got a gradient in this micro-batch.
    counts: Vec<u32>,
    /// How often each does in every micro-batch, as the first one has shown.
    expected: Option<Vec<u32>>,
}

/// A bucket under way.
#[derive(Debug)]
struct Sent {
    work: UnderWay,
    packed: Tensor,
    /// In which room, if it is packed.
    room: Option<usize>,
    /// What it replaces, if anything.
    bucket: Option<Bucket>,
}

/// What becomes of the gradients that backward computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// Nothing: no backward of a step is running.
    Ignored,
    /// They are counted; later micro-batches add to them.
    Counted,
    /// They are counted, and sent as soon as they are final.
    Sent,
}

impl Sending {
    /// For the gradients of these parameters.
    pub(super) fn new(transport: Transport, parameters: &[Tensor]) -> Result<Self> {
        let state = Arc::new(Mutex::new(State {
            transport,
            parameters: parameters.iter().map(Tensor::shallow_clone).collect(),
            layout: layout(&lens(parameters)),
            rooms: None,
            next_room: 0,
            sent: 0,
            under_way: VecDeque::new(),
            hearing: Hearing::Ignored,
            counts: vec![0; parameters.len()],
            expected: None,
        }));
        for (nth, parameter) in parameters.iter().enumerate() {
            // A parameter owns its hook.
            let state = Arc::downgrade(&state);
            on_gradient(parameter, move || {
                let Some(state) = state.upgrade() else {
                    return Ok(());
                };
                locked(&state).heard(nth).map_err(BoxError::from)
            })?;
        }
        Ok(Self { state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Makes room for what is sent later. Allocates once.
    pub(super) fn make_room(&self) -> Result<()> {
        self.state().make_room()
    }

    /// Backward may compute gradients in another order from now on.
    pub(super) fn forget_order(&self) {
        self.state().expected = None;
    }

    /// The backward of a micro-batch. It sends gradients if no other micro-batch will add to them.
    pub(super) fn while_computing<E: From<Error>>(
        &self,
        is_last: bool,
        backward: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        self.state().listen(if is_last {
            Hearing::Sent
        } else {
            Hearing::Counted
        });
        let outcome = backward();
        let mut state = self.state();
        let hearing = std::mem::replace(&mut state.hearing, Hearing::Ignored);
        outcome?;
        Ok(state.check_counts(hearing)?)
    }

    /// Sends what backward did not.
    pub(super) fn send_rest(&self) -> Result<()> {
        let mut state = self.state();
        while let Some(bucket) = state.next_bucket()? {
            state.send(bucket)?;
        }
        Ok(())
    }

    /// Waits for all buckets. Gradients are the sums over all ranks then.
    pub(super) fn finish(&self) -> Result<()> {
        self.state().drain(true)
    }

    /// Ends a step that is going to be undone: sends what is missing, and discards the sums. A rank that has sent everything
    /// only waits.
    pub(super) fn give_up(&self) -> Result<()> {
        let mut state = self.state();
        state.make_room()?;
        while state.sent < state.layout.len() {
            state.send_nothing()?;
        }
        state.drain(false)
    }
}

impl State {
    fn make_room(&mut self) -> Result<()> {
        if self.rooms.is_none()
            && let Some(parameter) = self.parameters.first()
        {
            let options = (Kind::Float, parameter.device());
            let room = || Tensor::f_empty([largest(&self.layout)], options);
            self.rooms = Some([room()?, room()?]);
        }
        Ok(())
    }

    fn listen(&mut self, hearing: Hearing) {
        self.counts.fill(0);
        self.hearing = hearing;
    }

    /// A gradient was added to that of the parameter `nth`.
    fn heard(&mut self, nth: usize) -> Result<()> {
        if self.hearing == Hearing::Ignored {
            return Ok(());
        }
        self.counts[nth] += 1;
        while self.hearing == Hearing::Sent && self.is_next_final() {
            let Some(bucket) = self.next_bucket()? else {
                break;
            };
            self.send(bucket)?;
        }
        Ok(())
    }

    /// Whether nothing will be added to the gradients of the next bucket.
    fn is_next_final(&self) -> bool {
        let (Some(pieces), Some(expected)) = (self.layout.get(self.sent), &self.expected) else {
            return false;
        };
        pieces.iter().all(|&Piece { nth, .. }| {
            let parameter = &self.parameters[nth];
            let gradient = parameter.grad();
            // Other ranks may have other strides, so those of the parameter count.
            self.counts[nth] == expected[nth]
                && gradient.defined()
                && gradient.stride() == parameter.stride()
        })
    }

    /// Learns how often each parameter gets a gradient, or checks it: a sum that misses some would be wrong.
    fn check_counts(&mut self, hearing: Hearing) -> Result<()> {
        match &self.expected {
            None => self.expected = Some(self.counts.clone()),
            Some(expected) if *expected != self.counts && hearing == Hearing::Sent => {
                return Err(Error::InvalidArgument(
                    "backward added to gradients that other ranks had already got".to_owned(),
                ));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn next_bucket(&self) -> Result<Option<Bucket>> {
        let Some(pieces) = self.layout.get(self.sent) else {
            return Ok(None);
        };
        let gradients: Vec<_> = self.parameters.iter().map(Tensor::grad).collect();
        Bucket::of(pieces, |nth| Ok(&gradients[nth])).map(Some)
    }

    fn send(&mut self, bucket: Bucket) -> Result<()> {
        let (room, packed) = if let Some(one) = bucket.as_one() {
            (None, one)
        } else {
            let (room, tensor) = self.free_room()?;
            (Some(room), bucket.packed(&tensor)?)
        };
        self.start(packed, room, Some(bucket))
    }

    /// Sends what lies in a room in place of the next bucket.
    fn send_nothing(&mut self) -> Result<()> {
        let (room, tensor) = self.free_room()?;
        let len = largest(&self.layout[self.sent..=self.sent]);
        self.start(tensor.f_narrow(0, 0, len)?, Some(room), None)
    }

    fn start(
        &mut self,
        mut packed: Tensor,
        room: Option<usize>,
        bucket: Option<Bucket>,
    ) -> Result<()> {
        let work = self.transport.sum(&mut packed)?;
        self.sent += 1;
        self.under_way.push_back(Sent {
            work,
            packed,
            room,
            bucket,
        });
        Ok(())
    }

    /// The next room, after what was in it has arrived.
    fn free_room(&mut self) -> Result<(usize, Tensor)> {
        let index = self.next_room;
        while self.under_way.iter().any(|it| it.room == Some(index)) {
            self.arrive(true)?;
        }
        let Some(rooms) = &self.rooms else {
            return Err(Error::InvalidArgument(
                "there is no room for a bucket".to_owned(),
            ));
        };
        self.next_room = (index + 1) % rooms.len();
        Ok((index, rooms[index].shallow_clone()))
    }

    /// Waits for the oldest bucket under way.
    fn arrive(&mut self, is_needed: bool) -> Result<()> {
        let Some(sent) = self.under_way.pop_front() else {
            return Ok(());
        };
        sent.work.wait()?;
        match sent.bucket {
            Some(bucket) if is_needed => bucket.unpack(&sent.packed),
            _ => Ok(()),
        }
    }

    /// Waits for all buckets under way.
    fn drain(&mut self, is_needed: bool) -> Result<()> {
        while !self.under_way.is_empty() {
            self.arrive(is_needed)?;
        }
        self.sent = 0;
        Ok(())
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic in a backward ends the run.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use torch_ext::function::accumulate_grad;

    use super::super::peers::Peers;
    use super::super::peers::tests::{PATIENCE, each, store};
    use super::*;

    /// Four buckets for these: 1 MiB is 262,144 elements.
    const LENS: [i64; 4] = [1000, 300_000, 50_000, 600_000];

    fn parameters() -> Vec<Tensor> {
        let parameter =
            |len| Tensor::ones([len], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        LENS.map(parameter).into()
    }

    /// Adds gradients as our own backward does, the last first, up to that of the parameter `until`.
    fn backward(parameters: &[Tensor], value: f64, until: usize) -> Result<()> {
        for parameter in parameters[until..].iter().rev() {
            accumulate_grad(parameter, &(parameter.detach() * value))?;
        }
        Ok(())
    }

    /// Adds the same gradients by autograd.
    fn autograd(parameters: &[Tensor], value: f64) -> Result<()> {
        let squares = parameters.iter().map(|it| (it * it).sum(Kind::Float));
        let loss: Tensor = squares.sum();
        torch_ext::backward(&(loss * (0.5 * value)))
    }

    fn gradients(parameters: &[Tensor]) -> Vec<f64> {
        let gradients = parameters.iter().map(Tensor::grad);
        gradients
            .map(|it| (it.min() + it.max()).double_value(&[]) / 2.0)
            .collect()
    }

    fn clear(parameters: &[Tensor]) {
        for parameter in parameters {
            torch_ext::ops::clear_grad(parameter).unwrap();
        }
    }

    fn on_two(body: impl Fn(usize, &Sending, &[Tensor]) + Sync) {
        each(&store(), 2, 2, PATIENCE, |peers: crate::Result<Peers>| {
            let peers = peers.unwrap();
            let parameters = parameters();
            let sending = Sending::new(peers.data().clone(), &parameters).unwrap();
            sending.make_room().unwrap();
            body(peers.shard().rank(), &sending, &parameters);
            assert!(peers.part(PATIENCE.control));
        });
    }

    /// Sends what is left, and waits for all.
    fn sum(sending: &Sending) {
        sending.send_rest().unwrap();
        sending.finish().unwrap();
    }

    #[test]
    fn gradients_travel_while_backward_computes_others() {
        travels_while(|parameters, value| backward(parameters, value, 0));
        travels_while(autograd);
    }

    fn travels_while(backward: impl Fn(&[Tensor], f64) -> Result<()> + Sync) {
        on_two(|rank, sending, parameters| {
            let compute = |is_last| {
                sending.while_computing(is_last, || backward(parameters, 1.0 + rank as f64))
            };
            // Two micro-batches, of which the first shows what backward computes.
            compute(false).unwrap();
            assert_eq!(sending.state().sent, 0);
            compute(true).unwrap();
            assert_eq!(
                sending.state().sent,
                4,
                "all, in the backward of the last one"
            );
            sum(sending);
            assert_eq!(gradients(parameters), [6.0; 4]);
            clear(parameters);
            // In another order nothing is known, so they travel after it.
            sending.forget_order();
            compute(true).unwrap();
            assert_eq!(sending.state().sent, 0);
            sum(sending);
            assert_eq!(gradients(parameters), [3.0; 4]);
        });
    }

    #[test]
    fn a_rank_that_fails_in_backward_leaves_nobody_waiting() {
        on_two(|rank, sending, parameters| {
            let compute = |until| {
                let backward = || {
                    backward(parameters, 1.0, until)?;
                    match until {
                        0 => Ok(()),
                        _ => Err(Error::InvalidArgument("on purpose".to_owned())),
                    }
                };
                sending.while_computing(true, backward)
            };
            compute(0).unwrap();
            sum(sending);
            clear(parameters);
            let outcome = compute(if rank == 1 { 2 } else { 0 });
            assert_eq!(outcome.is_err(), rank == 1);
            assert_eq!(sending.state().sent == 4, rank == 0);
            sending.give_up().unwrap();
            clear(parameters);
            compute(0).unwrap();
            sum(sending);
            assert_eq!(gradients(parameters), [2.0; 4]);
        });
    }

    #[test]
    fn a_gradient_that_comes_too_late_is_an_error() {
        on_two(|_, sending, parameters| {
            let twice = |is_last| {
                sending.while_computing(is_last, || {
                    backward(parameters, 1.0, 0)?;
                    backward(parameters, 1.0, 3)
                })
            };
            sending
                .while_computing(false, || backward(parameters, 1.0, 0))
                .unwrap();
            assert!(twice(true).is_err());
            sending.give_up().unwrap();
        });
    }
}
