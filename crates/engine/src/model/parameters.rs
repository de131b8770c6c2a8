//! The tensors of a network by the names of the script's state dict, and their initialisation.

use std::collections::HashMap;

use config::{Network, ParameterSpec, Role};
use tch::{Device, Kind, Tensor};
use torch_ext::Result;
use torch_ext::ops::add_scalar_;

/// One tensor of the state dict.
#[derive(Debug)]
pub struct Entry {
    /// Name, shape and role.
    pub spec: ParameterSpec,
    /// The tensor: a leaf that requires grad if its role is trainable.
    pub tensor: Tensor,
}

/// All of them, in the order of the state dict.
#[derive(Debug)]
pub struct Parameters {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    statistics: Tensor,
    counters: Tensor,
}

impl Parameters {
    /// PyTorch's default initialisation of each module, drawn from `seed`.
    pub(super) fn initialised(network: &Network, device: Device, seed: u64) -> Result<Self> {
        tch::manual_seed(i64::from_ne_bytes(seed.to_ne_bytes()));
        let specs = network.parameters();
        let mut buffers = Buffers::of(&specs, device)?;
        let mut entries = Vec::new();
        let mut fan_in = 1;
        for spec in specs {
            // A bias follows its weight in the state dict, and uses the weight's fan-in.
            if matches!(spec.role, Role::ConvWeight | Role::TransposeWeight) {
                fan_in = spec.shape[1..].iter().product();
            }
            let tensor = if spec.role.is_trainable() {
                initial(&spec, fan_in, device)?.f_set_requires_grad(true)?
            } else {
                buffers.next(&spec)?
            };
            entries.push(Entry { spec, tensor });
        }
        let by_name = entries
            .iter()
            .enumerate()
            .map(|(i, e)| (e.spec.name.clone(), i))
            .collect();
        Ok(Self {
            entries,
            by_name,
            statistics: buffers.statistics,
            counters: buffers.counters,
        })
    }

    /// The buffers of batch norm, each kind in one tensor: running statistics, and counters. Entries are
    /// views of them, so that all are saved and restored at once.
    pub fn buffers(&self) -> [Tensor; 2] {
        [&self.statistics, &self.counters].map(Tensor::shallow_clone)
    }

    /// Counts a batch in every batch norm: one operation, where each of them by itself would take one.
    pub(super) fn count_batch(&self) -> Result<()> {
        tch::no_grad(|| add_scalar_(&self.counters, 1.0))
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|&i| &self.entries[i].tensor)
    }

    /// Handles on the trainable tensors, in order.
    pub fn trainable(&self) -> Vec<Tensor> {
        self.entries
            .iter()
            .filter(|e| e.spec.role.is_trainable())
            .map(|e| e.tensor.shallow_clone())
            .collect()
    }

    pub(super) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.entries.iter_mut().map(|e| &mut e.tensor)
    }

    /// A handle on the tensor with this name, which the same description created.
    ///
    /// # Panics
    /// If the description of blocks and the description of parameters disagree.
    pub(super) fn handle(&self, name: &str) -> Tensor {
        match self.get(name) {
            Some(tensor) => tensor.shallow_clone(),
            None => unreachable!("`{name}` is in the network's blocks but not in its parameters"),
        }
    }
}

/// `nn.Conv2d`, `nn.ConvTranspose2d`: uniform within `1 / sqrt(fan_in)`, weight and bias
/// (Kaiming with a = sqrt(5)); `nn.BatchNorm2d`: ones and zeros. For trainable parameters.
fn initial(spec: &ParameterSpec, fan_in: u64, device: Device) -> Result<Tensor> {
    let shape: Vec<i64> = spec.shape.iter().map(|&d| d.cast_signed()).collect();
    let float = (Kind::Float, device);
    Ok(match spec.role {
        Role::ConvWeight | Role::ConvBias | Role::TransposeWeight | Role::TransposeBias => {
            let bound = 1.0 / (fan_in as f64).sqrt();
            // Drawn on the CPU, so that the weights are the same on every device.
            let mut t = Tensor::f_empty(&shape[..], (Kind::Float, Device::Cpu))?;
            t.f_uniform_(-bound, bound)?.f_to_device(device)?
        }
        Role::BnWeight => Tensor::f_ones(&shape[..], float)?,
        _ => Tensor::f_zeros(&shape[..], float)?,
    })
}

/// Hands out views of the buffers, in order.
struct Buffers {
    statistics: Tensor,
    counters: Tensor,
    num_statistics: i64,
    num_counters: i64,
}

impl Buffers {
    /// Buffers for all of `specs`, all zero.
    fn of(specs: &[ParameterSpec], device: Device) -> Result<Self> {
        let is_counter = |spec: &&ParameterSpec| spec.role == Role::BnNumBatchesTracked;
        let buffers = || specs.iter().filter(|spec| !spec.role.is_trainable());
        let num_statistics: u64 = buffers()
            .filter(|spec| !is_counter(spec))
            .map(|spec| spec.shape[0])
            .sum();
        let num_counters = buffers().filter(is_counter).count() as u64;
        Ok(Self {
            statistics: Tensor::f_zeros([num_statistics.cast_signed()], (Kind::Float, device))?,
            counters: Tensor::f_zeros([num_counters.cast_signed()], (Kind::Int64, device))?,
            num_statistics: 0,
            num_counters: 0,
        })
    }

    fn next(&mut self, spec: &ParameterSpec) -> Result<Tensor> {
        let view = if spec.role == Role::BnNumBatchesTracked {
            self.num_counters += 1;
            self.counters.f_select(0, self.num_counters - 1)?
        } else {
            let (from, len) = (self.num_statistics, spec.shape[0].cast_signed());
            self.num_statistics += len;
            self.statistics.f_narrow(0, from, len)?
        };
        // With a version counter of its own: autograd takes a change of one buffer for a change of all.
        let mut view = view.f_data()?;
        if spec.role == Role::BnRunningVar {
            let _ones = view.f_fill_(1.0)?;
        }
        Ok(view)
    }
}
