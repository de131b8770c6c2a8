//! Reads a snapshot, both unchanged and with its checksum corrected, and reads the text of a state
//! on its own, in a snapshot without tensors.

#![no_main]

use std::cell::RefCell;
use std::path::Path;

use config::{Overrides, RunConfig, resolve};
use libfuzzer_sys::fuzz_target;
use train::run::snapshot::{Snapshot, merged};
use engine::trainer::Trainer;

thread_local! {
    static TRAINER: RefCell<Trainer> = RefCell::new(fuzz::trainer());
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    go_on(bytes.clone());
    if let Ok(text) = std::str::from_utf8(&bytes) {
        go_on(fuzz::snapshot_of(text));
    }
    fuzz::seal_snapshot(&mut bytes);
    go_on(bytes);
});

/// Restores the snapshot as a resumed run does.
fn go_on(bytes: Vec<u8>) {
    let go_on = || {
        let snapshot = Snapshot::from_bytes(Path::new("last/snapshot.safetensors"), bytes)?;
        let given = resolve(None, None, Overrides::default())?;
        let (config, _) = merged(&snapshot, &given)?;
        assert_eq!(RunConfig::from_toml(&config.to_toml())?, config);
        TRAINER.with_borrow_mut(|trainer| {
            trainer.restore(&snapshot.state().trainer, |name, like| {
                snapshot.tensor(name, like)
            })
        })
    };
    fuzz::report(go_on());
}
