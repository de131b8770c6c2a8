//! Several ranks against one process. Ranks are threads here; `cli::ranks` starts processes.

use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use config::{Backend, CheckpointPolicy, ImageSize, MaskValue, Precision, Reduction, RunConfig};
use data::{Batch, DataError, Loader, Sample, Source, SynthSource};
use engine::Result;
use engine::interrupt::Interrupt;
use engine::ladder::{Failure, Rung};
use engine::team::{Patience, Peers, Team};
use engine::trainer::{EpochReport, Observer, Trainer, TrainerState};
use ranks::{Address, Launch, Launcher, Shard};
use tch::{Device, Tensor};
use torch_ext::distributed::Store;
use torch_ext::meter;

use crate::ladder::loader_of;
use crate::techniques::alone;

const SIDE: u32 = 32;
/// No number of ranks divides it.
const PAGES: usize = 7;
const PATIENCE: Duration = Duration::from_secs(60);

/// Noise of which some pixels are ignored. Two samples at a time are windows of one image.
struct Noise;

impl Source for Noise {
    fn len(&self) -> usize {
        PAGES
    }

    fn size(&self) -> (usize, usize) {
        (SIDE as usize, SIDE as usize)
    }

    fn image_of(&self, index: usize) -> usize {
        index / 2
    }

    fn name(&self, index: usize) -> String {
        index.to_string()
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        let config = RunConfig {
            batch: 1,
            ignore: Some(vec![MaskValue::Number(255)]),
            ..config()
        };
        let mut batch: Batch = engine::batch::noise(&config, index as u64);
        Ok(Sample {
            image: std::mem::take(&mut batch.images),
            mask: std::mem::take(&mut batch.masks),
        })
    }
}

fn config() -> RunConfig {
    RunConfig {
        width: 2,
        img_size: ImageSize::new(SIDE, SIDE),
        batch: 1,
        accumulation: 4,
        use_amp: false,
        use_channels_last: true,
        epochs: 2,
        lr: 1e-2,
        ..RunConfig::default()
    }
}

fn loader(config: &RunConfig, shuffle: bool) -> Loader {
    let source: Arc<dyn Source> = match config.ignore {
        Some(_) => Arc::new(Noise),
        None => Arc::new(SynthSource::new(3, PAGES, SIDE, SIDE).unwrap()),
    };
    loader_of(source, config, shuffle)
}

/// What a run is at its end.
struct End {
    state: TrainerState,
    tensors: Vec<(String, Tensor)>,
    epochs: Vec<EpochReport>,
}

/// What happens in a run, and a failure to plant in its first validation.
#[derive(Default)]
struct Watch<'a> {
    epochs: Vec<EpochReport>,
    /// Where all ranks meet, and the allocation after how many others fails then.
    plant: Option<(&'a Barrier, u32)>,
    rungs: Vec<(Option<usize>, Failure, Rung)>,
}

impl Observer for Watch<'_> {
    fn validation_started(&mut self) {
        if let Some((together, countdown)) = self.plant.take()
            && together.wait().is_leader()
        {
            meter::fail_after(Some(countdown));
        }
    }

    fn rung_taken(&mut self, trainer: &Trainer, failure: &Failure, rung: &Rung) {
        let rank = trainer.team().failed_rank();
        self.rungs.push((rank, *failure, rung.clone()));
    }

    fn epoch_done(&mut self, _trainer: &Trainer, report: &EpochReport) -> Result<()> {
        self.epochs.push(EpochReport {
            spent: engine::trainer::Spent::default(),
            data_wait: 0.0,
            ranks: Vec::new(),
            ..report.clone()
        });
        Ok(())
    }
}

impl End {
    fn handles(&self) -> Self {
        let tensors = self.tensors.iter();
        Self {
            state: self.state,
            tensors: tensors
                .map(|(name, it)| (name.clone(), it.shallow_clone()))
                .collect(),
            epochs: Vec::new(),
        }
    }
}

/// Trains as one of `team`, from `before` if there is something before.
fn train(config: &RunConfig, team: Team, before: Option<End>) -> End {
    train_as(config, team, before, false, &mut Watch::default())
}

fn train_as(
    config: &RunConfig,
    team: Team,
    before: Option<End>,
    is_together: bool,
    watch: &mut Watch<'_>,
) -> End {
    // Threads share the generator of random weights.
    static DRAWING: Mutex<()> = Mutex::new(());
    let drawing = DRAWING.lock().unwrap();
    let trainer = Trainer::new(config.clone(), Device::Cpu, Precision::Fp32);
    drop(drawing);
    let mut trainer = trainer.unwrap().with_team(team);
    if let Some(before) = before {
        let value = |name: &str, _like: &Tensor| -> Result<Tensor> {
            let found = before.tensors.iter().find(|(it, _)| it == name);
            Ok(found.unwrap().1.shallow_clone())
        };
        trainer.restore(&before.state, value).unwrap();
    }
    trainer.follow_first().unwrap();
    if is_together {
        trainer.normalise_together().unwrap();
    }
    let (data, val) = (loader(config, true), loader(config, false));
    trainer
        .fit(&data, &val, watch, &Interrupt::default())
        .unwrap();
    let tensors = trainer.tensors().into_iter();
    End {
        state: trainer.state().unwrap(),
        tensors: tensors
            .map(|(name, it)| (name, it.detach().copy()))
            .collect(),
        epochs: std::mem::take(&mut watch.epochs),
    }
}

/// Trains on `size` ranks.
fn train_on(
    size: usize,
    config: &RunConfig,
    reduction: Reduction,
    before: Option<&End>,
) -> Vec<End> {
    if size == 1 {
        return vec![train(config, Team::alone(), before.map(End::handles))];
    }
    each_rank(size, before, &|peers, before| {
        train(config, Team::many(peers, reduction), before)
    })
}

/// Runs `train` on `size` ranks.
fn each_rank(
    size: usize,
    before: Option<&End>,
    train: &(dyn Fn(Rc<Peers>, Option<End>) -> End + Sync),
) -> Vec<End> {
    let store = Store::serve("127.0.0.1", 0, PATIENCE).unwrap();
    let launch = |rank| Launch {
        launcher: Launcher::Hand,
        shard: Shard::new(rank, size).unwrap(),
        local_rank: rank,
        local_size: size,
        store: Address {
            host: "127.0.0.1".to_owned(),
            port: store.port().unwrap(),
        },
        is_store_served: true,
        attempt: 0,
    };
    let patience = Patience {
        join: PATIENCE,
        control: PATIENCE,
        data: PATIENCE,
    };
    thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                let launch = launch(rank);
                // Only rank 0 has read it.
                let before = before.filter(|_| rank == 0).map(End::handles);
                scope.spawn(move || {
                    let peers = Peers::join(
                        launch,
                        Device::Cpu,
                        (Backend::Auto, patience),
                        &|_missing| (),
                    )
                    .unwrap();
                    train(Rc::new(peers), before)
                })
            })
            .collect();
        ranks.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// The first tensor of both that differs by more than `most`, leaving out those that `exempt` names.
fn differing<'a>(a: &'a End, b: &End, most: f64, exempt: &str) -> Option<&'a str> {
    assert_eq!(a.tensors.len(), b.tensors.len());
    let pairs = a.tensors.iter().zip(&b.tensors);
    let mut differ = pairs.filter(|((name, a), (_, b))| {
        let is_exempt = !exempt.is_empty() && name.contains(exempt);
        let near = || most > 0.0 && a.allclose(b, most, most, false);
        !is_exempt && !a.equal(b) && !near()
    });
    differ.next().map(|((name, _), _)| name.as_str())
}

/// All ranks hold the same bits, and in the weights, moments and losses those of one process. Running statistics, and
/// with them the scores, round differently.
fn assert_like_one(one: &End, ranks: &[End], what: &str) {
    for (rank, end) in ranks.iter().enumerate() {
        assert_eq!(
            differing(&ranks[0], end, 0.0, ""),
            None,
            "{what}, rank {rank}"
        );
        assert_eq!(end.state, ranks[0].state, "{what}, rank {rank}");
        assert_eq!(end.epochs, ranks[0].epochs, "{what}, rank {rank}");
    }
    let many = &ranks[0];
    assert_eq!(differing(one, many, 0.0, "running_"), None, "{what}");
    assert_eq!(differing(one, many, 1e-5, ""), None, "{what}");
    for (one, many) in one.epochs.iter().zip(&many.epochs) {
        assert_eq!(
            one.train_loss.to_bits(),
            many.train_loss.to_bits(),
            "{what}"
        );
        assert!((one.val_loss - many.val_loss).abs() < 1e-4, "{what}");
    }
}

#[test]
fn two_ranks_compute_what_one_process_accumulates() {
    let _alone = alone();
    for policy in [
        CheckpointPolicy::Off,
        CheckpointPolicy::Selective,
        CheckpointPolicy::Block,
    ] {
        // The last step has one batch, of one image, and the second rank trains on it alone.
        let config = RunConfig {
            batch: 3,
            accumulation: 2,
            ..config().with_policy(policy)
        };
        let one = train(&config, Team::alone(), None);
        let two = train_on(2, &config, Reduction::After, None);
        assert_like_one(&one, &two, policy.as_str());
    }
}

#[test]
fn gradients_that_travel_during_backward_have_the_same_bits() {
    let _alone = alone();
    for (policy, split_concat) in [
        (CheckpointPolicy::Off, false),
        (CheckpointPolicy::Selective, true),
        (CheckpointPolicy::Mixed, true),
        (CheckpointPolicy::Block, false),
    ] {
        // Gradients of some megabytes, for several buckets. Steps have micro-batches for one rank or both.
        let config = RunConfig {
            width: 16,
            batch: 2,
            accumulation: 2,
            split_concat,
            ..config().with_policy(policy)
        };
        let one = train(&config, Team::alone(), None);
        let two = train_on(2, &config, Reduction::Overlap, None);
        assert_like_one(&one, &two, policy.as_str());
    }
    // Which way is taken when makes no difference to four ranks.
    let config = RunConfig {
        width: 8,
        accumulation: 7,
        epochs: 14,
        ..config().with_policy(CheckpointPolicy::Selective)
    };
    let [after, auto] =
        [Reduction::After, Reduction::Auto].map(|reduction| train_on(4, &config, reduction, None));
    for (after, auto) in after.iter().zip(&auto) {
        assert_eq!(differing(after, auto, 0.0, ""), None);
        assert_eq!(after.epochs, auto.epochs);
    }
}

#[test]
fn any_number_of_ranks_computes_in_order_what_one_process_accumulates() {
    let _alone = alone();
    let config = RunConfig {
        ignore: Some(vec![MaskValue::Number(255)]),
        ..config().with_policy(CheckpointPolicy::Selective)
    };
    let one = train(&config, Team::alone(), None);
    let all: Vec<_> = [2, 3, 4, 5]
        .map(|size| train_on(size, &config, Reduction::Ordered, None))
        .into_iter()
        .collect();
    for (ranks, size) in all.iter().zip(2..) {
        assert_like_one(&one, ranks, &format!("{size} ranks"));
        // Statistics and scores do not depend on their number either.
        assert_eq!(differing(&all[0][0], &ranks[0], 0.0, ""), None);
        assert_eq!(all[0][0].epochs, ranks[0].epochs);
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let _alone = alone();
    let config = config().with_policy(CheckpointPolicy::Selective);
    let until = |max_steps| RunConfig {
        max_steps: Some(max_steps),
        ..config.clone()
    };
    let one = train(&until(4), Team::alone(), None);
    // The first and the last stop inside an epoch.
    let four = train_on(4, &until(1), Reduction::Ordered, None);
    let then_one = train_on(1, &until(2), Reduction::Ordered, Some(&four[0]));
    let then_three = train_on(3, &until(4), Reduction::Ordered, Some(&then_one[0]));
    assert_eq!(differing(&one, &then_three[0], 0.0, "running_"), None);
    assert_eq!(differing(&then_three[0], &then_three[2], 0.0, ""), None);
    assert_eq!(one.state.position.steps, then_three[0].state.position.steps);
    assert_eq!(one.state.num_losses, then_three[0].state.num_losses);
}

/// Gradients and statistics of one step differ by rounding alone.
#[test]
fn ranks_that_normalise_together_compute_what_a_larger_batch_does() {
    let _alone = alone();
    let config = |batch, accumulation| RunConfig {
        batch,
        accumulation,
        max_steps: Some(1),
        ..config().with_policy(CheckpointPolicy::Selective)
    };
    // Of four ranks one has no image.
    for (size, batch, accumulation) in [(2, 2, 2), (4, 1, 3)] {
        let whole = train(&config(batch * accumulation, 1), Team::alone(), None);
        let shared = config(batch, accumulation);
        let together = each_rank(size, None, &|peers, before| {
            let team = Team::many(peers, Reduction::Auto);
            train_as(&shared, team, before, true, &mut Watch::default())
        });
        for rank in &together {
            assert_eq!(differing(&together[0], rank, 0.0, ""), None, "{size} ranks");
            assert_eq!(together[0].epochs, rank.epochs, "{size} ranks");
        }
        let apart = train_on(size, &shared, Reduction::After, None);
        let [near, far] = [&together[0], &apart[0]].map(|it| {
            let pairs = whole.tensors.iter().zip(&it.tensors);
            // First moments are gradients; weights magnify those that are rounding alone.
            let pairs = pairs
                .filter(|((name, _), _)| name.starts_with("exp_avg.") || name.contains("running_"));
            let each = pairs.map(|((_, a), (_, b))| (a - b).abs().max().double_value(&[]));
            each.fold(0.0, f64::max)
        });
        assert!(near < 1e-5 && far > 1e-3, "{size} ranks: {near} {far}");
    }
}

/// A validation that fails on one rank computes fewer images at a time on all of them from then on.
#[test]
fn memory_that_runs_out_in_the_validation_of_a_rank() {
    let _alone = alone();
    let config = RunConfig {
        batch: 4,
        accumulation: 2,
        ..config().with_policy(CheckpointPolicy::Selective)
    };
    let calm = train_on(2, &config, Reduction::After, None);
    for countdown in [0, 9, 31] {
        let together = Barrier::new(2);
        let all_rungs = Mutex::new(Vec::new());
        let planted = each_rank(2, None, &|peers, before| {
            let mut watch = Watch {
                plant: Some((&together, countdown)),
                ..Watch::default()
            };
            let team = Team::many(peers, Reduction::After);
            let end = train_as(&config, team, before, false, &mut watch);
            all_rungs.lock().unwrap().push(watch.rungs);
            end
        });
        let rungs = all_rungs.into_inner().unwrap();
        assert_eq!(rungs[0], rungs[1], "{countdown}");
        let [(Some(0 | 1), Failure::OutOfMemory { .. }, rung)] = &rungs[0][..] else {
            panic!("{countdown}: {rungs:?}");
        };
        assert_eq!(rung.to, "validation, images at a time: 2", "{countdown}");
        for (calm, planted) in calm.iter().zip(&planted) {
            assert_eq!(differing(calm, planted, 0.0, ""), None, "{countdown}");
            for (calm, planted) in calm.epochs.iter().zip(&planted.epochs) {
                assert_eq!(calm.scores, planted.scores, "{countdown}");
                assert!((calm.val_loss - planted.val_loss).abs() < 1e-6);
            }
        }
        assert_eq!(planted[0].epochs, planted[1].epochs, "{countdown}");
    }
}
