//! How tensors travel between ranks: from GPU to GPU, or through the memory of the machines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::Backend;
use tch::{Device, Tensor};
use torch_ext::Result;
use torch_ext::distributed::{Group, Work};

/// Whether `backend` is NCCL for ranks on `device`.
pub(super) const fn is_nccl(backend: Backend, device: Device) -> bool {
    match backend {
        Backend::Auto => matches!(device, Device::Cuda(_)),
        Backend::Nccl => true,
        Backend::Gloo => false,
    }
}

/// A group that takes tensors on any device. The thread of a backward may use it while others wait for that thread.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    group: Arc<Mutex<Group>>,
    is_nccl: bool,
}

/// An operation under way. Its tensor may be used when [`Self::wait`] has returned.
#[derive(Debug)]
pub(super) struct UnderWay {
    work: Work,
    /// What travels, and where it belongs, if that is on a GPU.
    copy: Option<(Tensor, Tensor)>,
}

impl Transport {
    pub(super) fn new(group: Group, is_nccl: bool) -> Self {
        Self {
            group: Arc::new(Mutex::new(group)),
            is_nccl,
        }
    }

    /// Starts to replace a contiguous tensor by its sum over all ranks.
    pub(super) fn sum(&self, tensor: &mut Tensor) -> Result<UnderWay> {
        self.start(tensor, Group::all_reduce_sum)
    }

    /// Starts to copy a contiguous tensor from rank 0 to all others.
    pub(super) fn copy_from_first(&self, tensor: &mut Tensor) -> Result<UnderWay> {
        self.start(tensor, |group, tensor| group.broadcast(tensor, 0))
    }

    fn start(
        &self,
        tensor: &mut Tensor,
        begin: impl FnOnce(&Group, &mut Tensor) -> Result<Work>,
    ) -> Result<UnderWay> {
        if !self.goes_through_host(tensor) {
            return Ok(UnderWay {
                work: begin(&self.group(), tensor)?,
                copy: None,
            });
        }
        let mut host = tensor.f_to_device(Device::Cpu)?;
        Ok(UnderWay {
            work: begin(&self.group(), &mut host)?,
            copy: Some((host, tensor.shallow_clone())),
        })
    }

    /// The elements of a contiguous tensor on all ranks, in their order.
    pub(super) fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        if !self.goes_through_host(tensor) {
            let work = self.group().all_gather(tensor)?;
            return work.wait(None);
        }
        let host = tensor.f_to_device(Device::Cpu)?;
        let work = self.group().all_gather(&host)?;
        Ok(work.wait(None)?.f_to_device(tensor.device())?)
    }

    /// Ends the group at once.
    pub(super) fn abort(&self) -> Result<()> {
        self.group().abort()
    }

    /// The group itself.
    pub(super) fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_through_host(&self, tensor: &Tensor) -> bool {
        !self.is_nccl && tensor.device().is_cuda()
    }
}

impl UnderWay {
    /// Waits for its end.
    pub(super) fn wait(self) -> Result<()> {
        self.work.wait(None)?;
        if let Some((host, mut tensor)) = self.copy {
            let _no_grad = tch::no_grad_guard();
            tensor.f_copy_(&host)?;
        }
        Ok(())
    }
}
