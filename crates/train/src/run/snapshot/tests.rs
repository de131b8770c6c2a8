use std::fs;
use std::path::Path;

use config::{ImageSize, Overrides, Precision, RunConfig, resolve};
use tch::Device;

use super::*;
use crate::error::Error;
use engine::metrics::Scores;
use engine::trainer::{EpochReport, Spent, Trainer};

fn config() -> RunConfig {
    RunConfig {
        img_size: ImageSize::new(16, 32),
        width: 1,
        batch: 1,
        use_amp: false,
        lr: 0.1 + 0.2,
        ..RunConfig::default()
    }
}

fn trainer(precision: Precision) -> Trainer {
    Trainer::new(config(), Device::Cpu, precision).unwrap()
}

fn state(trainer: &Trainer, steps: u64) -> State {
    let mut state = State {
        snug: "0".to_owned(),
        libtorch: "2.11.0".to_owned(),
        device: "cpu".to_owned(),
        precision: trainer.learner.precision.as_str().to_owned(),
        config: trainer.config.to_toml(),
        asked: trainer.config.to_toml(),
        data: DataId {
            name: "a \"name\"\n".to_owned(),
            folder: None,
            train: 3,
            val: 2,
            names: String::new(),
            contents: None,
            reading: None,
        },
        trainer: trainer.state().unwrap(),
        record: Record::default(),
    };
    state.trainer.position.steps = steps;
    state
}

fn write(run: &Path, trainer: &Trainer, steps: u64) -> Store {
    let store = Store::of_run(run);
    store
        .write(&state(trainer, steps), &trainer.tensors())
        .unwrap();
    store
}

fn steps(run: &Path) -> Option<u64> {
    let found = find(run).unwrap()?;
    Some(found.snapshot.state().trainer.position.steps)
}

#[test]
fn every_figure_comes_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let trainer = trainer(Precision::Fp16);
    let mut state = state(&trainer, 7);
    let position = &mut state.trainer.position;
    position.best_iou = Some(0.1 + 0.2);
    assert!(state.trainer.scaler.is_some());
    state.record.seconds = f64::MIN_POSITIVE / 3.0;
    state.record.best = Some(EpochReport {
        ranks: Vec::new(),
        epoch: 3,
        train_loss: 1.0 / 3.0,
        val_loss: f64::NAN,
        scores: Scores {
            iou: 1e-300,
            dice: 1.0,
            best_threshold: None,
            per_class: Vec::new(),
            num_images: 5,
            curve: None,
        },
        is_best: false,
        lr: 1e22,
        scale: Some(f64::INFINITY),
        skipped_updates: 0,
        data_wait: 5e-324,
        spent: Spent::default(),
        steps: u64::MAX >> 1,
    });
    let store = Store::of_run(dir.path());
    store.write(&state, &trainer.tensors()).unwrap();
    let snapshot = Snapshot::open(&store.path()).unwrap();
    // NaN is unequal to itself, but its text is equal. The texts have all digits that distinguish floats.
    assert_eq!(format!("{:?}", snapshot.state()), format!("{state:?}"));
    let read = RunConfig::from_toml(&snapshot.state().config).unwrap();
    assert_eq!(read, trainer.config);
    let tensors = trainer.tensors();
    assert_eq!(tensors.len(), 136 + 3 * 82 + 1);
    for (name, tensor) in tensors {
        let read = snapshot.tensor(&name, &tensor).unwrap();
        assert_eq!(read, tensor.detach(), "{name}");
    }
}

#[test]
fn the_scaler_goes_on() {
    let mut state = state(&trainer(Precision::Fp16), 1).trainer;
    let scaler = state.scaler.as_mut().unwrap();
    (scaler.scale, scaler.growth_tracker) = (12.5, 77);
    let from = trainer(Precision::Fp16);
    let mut to = trainer(Precision::Fp16);
    let tensors = from.tensors();
    let value = |name: &str, _: &tch::Tensor| {
        let found = tensors.iter().find(|(n, _)| n == name).unwrap();
        Ok(found.1.shallow_clone())
    };
    to.restore(&state, value).unwrap();
    assert_eq!(to.state().unwrap(), state);
    // A run without a scaler has no scaler state.
    state.scaler = None;
    assert!(matches!(
        to.restore(&state, value),
        Err(Error::Engine(engine::Error::ScalerStateMissing))
    ));
}

#[test]
fn at_every_moment_of_a_write_a_whole_one_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (run, last) = (dir.path(), dir.path().join("last"));
    let trainer = trainer(Precision::Fp32);
    assert_eq!(steps(run), None);
    write(run, &trainer, 1);
    assert_eq!(steps(run), Some(1));
    write(run, &trainer, 2);
    write(run, &trainer, 3);
    assert_eq!(steps(run), Some(3));
    let previous = Snapshot::open(&last.join(PREVIOUS)).unwrap();
    assert_eq!(previous.state().trainer.position.steps, 2);
    // Interrupted while the new one is written: the partial file is ignored and removed.
    fs::write(last.join(".snapshot.new"), "half").unwrap();
    assert_eq!(steps(run), Some(3));
    Store::of_run(run);
    assert_eq!(fs::read_dir(&last).unwrap().count(), 2);
    // Interrupted between the renames.
    fs::rename(last.join(SNAPSHOT), last.join(PREVIOUS)).unwrap();
    assert_eq!(steps(run), Some(3));
    assert!(find(run).unwrap().unwrap().note.is_some());
    write(run, &trainer, 4);
    assert_eq!(steps(run), Some(4));
    let previous = Snapshot::open(&last.join(PREVIOUS)).unwrap();
    assert_eq!(previous.state().trainer.position.steps, 3);
}

#[test]
fn one_that_cannot_be_written_leaves_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let trainer = trainer(Precision::Fp32);
    let store = write(run, &trainer, 1);
    let whole = fs::read(store.path()).unwrap();
    // A folder with the temporary file's name makes the write fail.
    fs::create_dir(run.join("last/.snapshot.new")).unwrap();
    let error = store
        .write(&state(&trainer, 2), &trainer.tensors())
        .unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.ends_with(SNAPSHOT)),
        "{error}"
    );
    assert!(fs::read(store.path()).unwrap() == whole);
}

#[test]
fn settings_agree_by_what_they_mean() {
    let dir = tempfile::tempdir().unwrap();
    let trainer = trainer(Precision::Fp32);
    let store = write(dir.path(), &trainer, 1);
    let snapshot = Snapshot::open(&store.path()).unwrap();
    let merged = |overrides: Overrides| merged(&snapshot, &resolve(None, None, overrides).unwrap());
    let (same, changes) = merged(Overrides::default()).unwrap();
    assert_eq!((same, changes.len()), (config(), 0));
    let free = Overrides {
        epochs: Some(7),
        workers: Some(2),
        width: Some(1),
        use_grad_checkpoint: Some(true),
        ..Overrides::default()
    };
    let (changed, changes) = merged(free).unwrap();
    assert_eq!((changed.epochs, changed.workers, changed.width), (7, 2, 1));
    assert!(changed.use_grad_checkpoint);
    assert_eq!(changes.len(), 3);
    let error = merged(Overrides {
        batch: Some(2),
        ..Overrides::default()
    })
    .unwrap_err();
    assert_eq!(error.exit(), config::cli::Exit::Usage);
    assert!(error.to_string().contains("`batch` = 1"), "{error}");
}

#[test]
fn figures_that_no_run_comes_to_are_refused() {
    let good = state(&trainer(Precision::Fp32), 1);
    good.check().unwrap();
    let refused = |change: &dyn Fn(&mut State)| {
        let mut state = good.clone();
        change(&mut state);
        state.check().unwrap_err()
    };
    assert_eq!(
        refused(&|it| it.trainer.position.epoch = u32::MAX),
        "it counts 4294967295 epochs"
    );
    assert!(refused(&|it| it.trainer.position.steps = u64::MAX >> 1).contains("counts to"));
    assert!(refused(&|it| it.data.train = 1 << 40).contains("built-in pages"));
}
