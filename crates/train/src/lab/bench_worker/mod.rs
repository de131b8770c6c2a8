//! Snug's side of a benchmark: `train bench-worker` reads requests and answers them, a line each.
//! The driver, the protocol and the reports are the crate `bench`.

mod epochs;
mod shared;

use std::io::{BufRead, ErrorKind, Write};
use std::time::Instant;

use bench::case::Implementation;
use bench::protocol::{Answer, Peak, Ready, Spec, WorkerRequest};
use config::{ImageSize, Precision, RunConfig};
use figures::numbers::median;
use machine::{Cpu, nvml};
use tch::Device;
use torch_ext::device_info;

use self::epochs::Epochs;
use crate::error::{Error, Result};
use crate::lab::measure::StepProbe;
use crate::run::weights::WeightsFile;
use crate::usage::UsageError;
use engine::device::{self, DeviceChoice};

/// Answers requests until `requests` ends.
///
/// # Errors
/// If the first line is not a spec, or an answer cannot be written. A failed request is reported in
/// an answer.
pub fn serve(requests: impl BufRead, mut answers: impl Write) -> Result<()> {
    let mut lines = requests.lines();
    let mut say = |answer: &Answer| {
        let line = serde_json::to_string(answer).unwrap_or_default();
        writeln!(answers, "{line}")
            .and_then(|()| answers.flush())
            .map_err(|e| Error::io("write to", "stdout", e))
    };
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let first = first.map_err(|e| Error::io("read", "stdin", e))?;
    let spec: Spec = serde_json::from_str(&first)
        .map_err(|e| not_from_a_benchmark(format!("no valid specification: {e}")))?;
    let mut work = match Assignment::build(&spec) {
        Ok((work, ready)) => {
            say(&Answer::Ready(ready))?;
            work
        }
        Err(error) => return say(&failure(&error)),
    };
    for line in lines {
        let line = line.map_err(|e| Error::io("read", "stdin", e))?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => work.answer(&request).unwrap_or_else(|e| failure(&e)),
            Err(error) => Answer::Failed {
                message: format!("no request: {error}"),
            },
        };
        say(&answer)?;
    }
    Ok(())
}

fn failure(error: &Error) -> Answer {
    let message = error.message();
    match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull => Answer::Failed {
            message: format!(
                "{message}; free some disk space, or choose another folder with `--out`"
            ),
        },
        error if error.is_out_of_memory() => Answer::OutOfMemory { message },
        _ => Answer::Failed { message },
    }
}

/// The state of a worker.
struct Assignment {
    spec: Spec,
    config: RunConfig,
    device: Device,
    probe: Option<StepProbe>,
    epochs: Option<Epochs>,
}

impl Assignment {
    fn build(spec: &Spec) -> Result<(Self, Ready)> {
        let begin = Instant::now();
        let choice: DeviceChoice = spec.device.parse().map_err(not_from_a_benchmark)?;
        let device = choice.resolve()?;
        torch_ext::cuda::allow_tf32(spec.precision == Precision::Tf32)?;
        let config = config_of(spec)?;
        let precision = spec.precision;
        let (mut probe, mut epochs) = (None, None);
        if let Some(data) = &spec.data {
            epochs = Some(Epochs::new(
                data,
                spec.keep_decoded,
                &config,
                device,
                precision,
            )?);
        } else if let Some(batches) = &spec.batches {
            let batches = shared::read_batches(batches, device)?;
            probe = Some(StepProbe::on_bytes(&config, device, precision, batches)?);
        } else {
            probe = Some(StepProbe::new(&config, device, precision)?);
        }
        if spec.implementation == Implementation::SnugGraph {
            probe = probe.map(StepProbe::recorded);
        }
        let model = match (&probe, &epochs) {
            (Some(probe), _) => Some(probe.model()),
            (_, Some(epochs)) => Some(epochs.model()),
            _ => None,
        };
        if let Some((weights, model)) = spec.weights.as_deref().zip(model) {
            WeightsFile::open(weights)?.load_into(model)?;
        }
        let mut ready = ready(device);
        if spec.data.is_some() {
            ready.prepare_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        let work = Self {
            spec: spec.clone(),
            config,
            device,
            probe,
            epochs,
        };
        Ok((work, ready))
    }

    fn answer(&mut self, request: &WorkerRequest) -> Result<Answer> {
        Ok(match request {
            WorkerRequest::Losses { count } => {
                let probe = self.probe()?;
                let losses = (0..*count).map(|_| probe.step_with_loss());
                Answer::Losses {
                    losses: losses.collect::<engine::Result<_>>()?,
                }
            }
            WorkerRequest::Times { count } => Answer::Times {
                step_ms: self.probe()?.timed_steps(*count)?,
            },
            WorkerRequest::Peak => Answer::Peak(self.peak()?),
            WorkerRequest::Host { count } => self.host(*count)?,
            WorkerRequest::Epoch => {
                let epochs = self.epochs.as_mut().ok_or_else(|| misplaced("epoch"))?;
                Answer::Epoch(epochs.epoch()?)
            }
            WorkerRequest::Validate => {
                let epochs = self.epochs.as_mut().ok_or_else(|| misplaced("validate"))?;
                Answer::Losses {
                    losses: vec![epochs.validate()?],
                }
            }
            WorkerRequest::Export {
                weights,
                batches,
                count,
            } => {
                crate::run::weights::save(self.probe()?.model(), weights)?;
                shared::write_batches(batches, &self.config, *count)?;
                Answer::Done
            }
            WorkerRequest::Pages { folder, train, val } => {
                let size = ImageSize::new(self.spec.img_size[0], self.spec.img_size[1]);
                shared::write_pages(folder, size, *train, *val)?;
                Answer::Done
            }
        })
    }

    fn probe(&mut self) -> Result<&mut StepProbe> {
        self.probe.as_mut().ok_or_else(|| misplaced("step"))
    }

    fn peak(&mut self) -> Result<Peak> {
        let device = self.device;
        let peak = self.probe()?.peak_bytes()?;
        Ok(Peak {
            held_bytes: peak.held_bytes,
            allocated_bytes: peak.peak_bytes,
            reserved_bytes: device::peak(device).reserved_bytes,
        })
    }

    fn host(&mut self, count: u32) -> Result<Answer> {
        /// Untimed steps: libraries choose algorithms and allocate memory in the first steps.
        const WARM_UP: u32 = 3;
        let probe = self.probe()?;
        let (mut steps, mut hosts) = (Vec::new(), Vec::new());
        for turn in 0..WARM_UP + count {
            let (step, host) = probe.host_time()?;
            if turn >= WARM_UP {
                steps.push(step.as_secs_f64() * 1e3);
                hosts.push(host.as_secs_f64() * 1e3);
            }
        }
        Ok(Answer::Host {
            step_ms: median(&steps).unwrap_or(f64::NAN),
            host_ms: median(&hosts).unwrap_or(f64::NAN),
        })
    }
}

fn misplaced(what: &str) -> Error {
    not_from_a_benchmark(format!("`{what}`, for which it was not prepared"))
}

fn not_from_a_benchmark(problem: String) -> Error {
    UsageError::NotFromABenchmark { problem }.into()
}

fn ready(device: Device) -> Ready {
    Ready {
        libtorch: torch_ext::library::runtime_version(),
        threads: usize::try_from(tch::get_num_threads()).unwrap_or(0),
        device_name: Some(device::name(device)),
        total_bytes: device::total_bytes(device),
        free_bytes: device::free_bytes(device),
        cpu_capability: torch_ext::library::cpu_capability(),
        precisions: precisions(device),
        driver: device
            .is_cuda()
            .then(|| nvml::driver_version().ok())
            .flatten(),
        pci_bus_id: match device {
            Device::Cuda(n) => device_info::pci_bus_id(n),
            _ => None,
        },
        compute_capability: match device {
            Device::Cuda(n) => device_info::compute_capability(n).map(|it| (it.major, it.minor)),
            _ => None,
        },
        amx_bf16: Cpu::detect().amx_bf16,
        prepare_ms: 0,
    }
}

/// The precisions that the hardware multiplies.
fn precisions(device: Device) -> Vec<Precision> {
    use Precision::{Bf16, Fp16, Fp32, Tf32};
    let bf16 = device::processor(device).multiplies_bf16();
    let all = [
        (Fp32, true),
        // TF32 came with the same generation of tensor cores as bf16.
        (Tf32, bf16 && device.is_cuda()),
        (Fp16, device.is_cuda() || Cpu::detect().fp16),
        (Bf16, bf16),
    ];
    let there = all.into_iter().filter(|(_, there)| *there);
    there.map(|(precision, _)| precision).collect()
}

fn config_of(spec: &Spec) -> Result<RunConfig> {
    let config = spec.config()?;
    engine::compose::require_features(&config)?;
    Ok(config)
}
