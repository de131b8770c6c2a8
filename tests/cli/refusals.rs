//! Bad input: the exit code is 2, the message names the file or key and a remedy, and nothing is
//! created or overwritten.

use image::{GrayImage, Luma};

use super::{Sandbox, small};

/// The message of a refused run, from `error:` on.
fn refused(sandbox: &Sandbox, args: &[&str]) -> String {
    let before = sandbox.tree();
    let run = sandbox.train(args);
    assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
    assert!(!run.stderr.contains("panicked"), "{args:?}: {run:?}");
    assert!(run.complaint().contains("\nhint: "), "{args:?}: {run:?}");
    assert!(sandbox.tree() == before, "{args:?} left something");
    run.complaint().to_owned()
}

/// Like [`refused`], for `fit` on `data/`.
fn refused_fit(sandbox: &Sandbox, flags: &[&str]) -> String {
    refused(sandbox, &small(&[&["--data", "data"], flags].concat()))
}

#[test]
fn missing_masks() {
    let sandbox = Sandbox::with_pages();
    for page in 2..5 {
        let mask = format!("data/train/masks/page-0000{page}_mask.png");
        std::fs::remove_file(sandbox.path(&mask)).unwrap();
    }
    insta::assert_snapshot!(refused_fit(&sandbox, &[]), @r"
    error: 3 image(s) in `data/train/images` have no mask in `data/train/masks`: page-00002.png, page-00003.png, page-00004.png
    hint: add their masks, or move the images elsewhere; up to a third of the images may lack a mask
    ");
}

#[test]
fn a_mask_with_another_size() {
    let sandbox = Sandbox::with_pages();
    let mask = sandbox.path("data/val/masks/page-00001_mask.png");
    GrayImage::new(48, 64).save(mask).unwrap();
    insta::assert_snapshot!(refused_fit(&sandbox, &[]), @r"
    error: mask `data/val/masks/page-00001_mask.png` is 64x48 (height x width), but its image `data/val/images/page-00001.png` is 64x64
    hint: a mask must have one pixel for each pixel of its image
    ");
}

#[test]
fn a_mask_with_unexpected_values() {
    let sandbox = Sandbox::with_pages();
    let mask = sandbox.path("data/train/masks/page-00000_mask.png");
    GrayImage::from_fn(64, 64, |x, _| Luma([[0, 100, 200][x as usize % 3]]))
        .save(mask)
        .unwrap();
    insta::assert_snapshot!(refused_fit(&sandbox, &[]), @r"
    error: `data`: the masks hold 4 different values, whose meaning is not clear
      0: 78.10 % of the pixels, in 14 file(s)
      100: 2.34 % of the pixels, in 1 file(s), such as `data/train/masks/page-00000_mask.png`
      200: 2.34 % of the pixels, in 1 file(s), such as `data/train/masks/page-00000_mask.png`
      255: 17.21 % of the pixels, in 13 file(s), such as `data/test/masks/page-00000_mask.png`
    hint: if each is a class, pass `--classes 4`; or say in a `classes.toml` in this folder which are classes and which to ignore: `[classes]`, `values = [0, 255]`, `ignore = [100, 200]`
    ");
}

#[test]
fn a_truncated_image() {
    let sandbox = Sandbox::with_pages();
    let name = "data/train/images/page-00004.png";
    sandbox.write(name, &sandbox.read(name)[..300]);
    let complaint = refused_fit(&sandbox, &[]);
    // The rest of the line is the decoder's own message.
    assert!(
        complaint.starts_with(&format!("error: `{name}` is truncated or corrupt: ")),
        "{complaint}"
    );
    assert!(complaint.ends_with("\nhint: open it in an image viewer; copy or export it again"));
}

#[test]
fn several_faults_are_reported_together() {
    let sandbox = Sandbox::with_pages();
    for page in 0..3 {
        sandbox.write(
            &format!("data/train/images/page-0000{page}.png"),
            "no image",
        );
    }
    let complaint = refused_fit(&sandbox, &[]);
    assert!(
        complaint.starts_with("error: 3 samples cannot be used:"),
        "{complaint}"
    );
    assert!(
        (0..3).all(|page| complaint.contains(&format!("page-0000{page}.png"))),
        "{complaint}"
    );
}

#[test]
fn folders_without_data() {
    let sandbox = Sandbox::with_pages();
    std::fs::create_dir_all(sandbox.path("none/train/images")).unwrap();
    std::fs::create_dir_all(sandbox.path("none/train/masks")).unwrap();
    std::fs::create_dir_all(sandbox.path("other/pictures")).unwrap();
    insta::assert_snapshot!(refused(&sandbox, &["fit", "--data", "none"]), @r"
    error: `none`: no images with masks (it has no files)
    hint: expected `images/` and `masks/` with equal names or with `STEM_mask.png` for `STEM.jpg`, in `train/`, `val/` and `test/` or without; or both kinds in one folder, as `STEM.jpg` and `STEM_mask.png`
    ");
    insta::assert_snapshot!(refused(&sandbox, &["fit", "--data", "other"]), @r"
    error: `other`: no images with masks (it has no files)
    hint: expected `images/` and `masks/` with equal names or with `STEM_mask.png` for `STEM.jpg`, in `train/`, `val/` and `test/` or without; or both kinds in one folder, as `STEM.jpg` and `STEM_mask.png`
    ");
    insta::assert_snapshot!(refused(&sandbox, &["fit", "--data", "data/val/images/page-00000.png"]), @r"
    error: `data/val/images/page-00000.png` is a file, not a folder
    hint: `--data` takes the folder that holds `train/` and `val/`, or `images/` and `masks/`
    ");
}

#[test]
fn a_configuration_file() {
    let sandbox = Sandbox::with_pages();
    sandbox.write("key.toml", "schema_version = 1\nbatch = 4\nbatchs = 4\n");
    sandbox.write("batch.toml", "schema_version = 1\nbatch = 0\n");
    sandbox.write("lr.toml", "schema_version = 1\nlr = nan\n");
    sandbox.write("size.toml", "schema_version = 1\nimg_size = [100, 64]\n");
    sandbox.write("syntax.toml", "schema_version = 1\nbatch = = 4\n");
    let refused = |file: &str| refused(&sandbox, &["fit", "--data", "data", "--config", file]);
    insta::assert_snapshot!(refused("key.toml"), @r"
    error: `key.toml` line 3: unknown key `batchs`
    hint: did you mean `batch`?
    ");
    insta::assert_snapshot!(refused("batch.toml"), @r"
    error: `batch.toml` line 2: `batch` must be a whole number from 1 to 65536, found `0`
    hint: correct the file, or override the key with its flag
    ");
    insta::assert_snapshot!(refused("lr.toml"), @r"
    error: `lr.toml` line 2: `lr` must be a finite number above 0, found `NaN`
    hint: correct the file, or override the key with its flag
    ");
    insta::assert_snapshot!(refused("size.toml"), @r"
    error: `size.toml` line 2: `img_size` must be [height, width], both multiples of 16 from 16 to 65536, found `100x64`
    hint: the nearest valid sizes are 96x64 and 112x64
    ");
    insta::assert_snapshot!(refused("none.toml"), @r"
    error: `none.toml`: cannot be read: No such file or directory (os error 2)
    hint: `--config` takes a TOML file; `--preset` takes a name
    ");
    let syntax = refused("syntax.toml");
    assert!(
        syntax.starts_with("error: `syntax.toml` line 2: not valid TOML"),
        "{syntax}"
    );
}

#[test]
fn flags_with_wrong_values() {
    let sandbox = Sandbox::with_pages();
    let refused = |flags: &[&str]| refused_fit(&sandbox, flags);
    insta::assert_snapshot!(refused(&["--batch", "0"]), @r"
    error: `--batch` must be a whole number from 1 to 65536, found `0`
    hint: `train fit --help` describes `--batch`
    ");
    insta::assert_snapshot!(refused(&["--lr", "nan"]), @r"
    error: `--lr` must be a finite number above 0, found `NaN`
    hint: `train fit --help` describes `--lr`
    ");
    insta::assert_snapshot!(refused(&["--lr", "-1"]), @r"
    error: `--lr` must be a finite number above 0, found `-1`
    hint: `train fit --help` describes `--lr`
    ");
    insta::assert_snapshot!(refused(&["--img-size", "100x64"]), @r"
    error: `--img-size` must be `HxW`, both multiples of 16 from 16 to 65536, found `100x64`
    hint: the nearest valid sizes are 96x64 and 112x64
    ");
    insta::assert_snapshot!(refused(&["--img-size", "100"]), @r"
    error: invalid value '100' for '--img-size <HxW>': image size must be `HxW`, such as `384x512`, found `100`
    hint: `--help` lists the flags
    ");
    insta::assert_snapshot!(refused(&["--seed", "-1"]), @r"
    error: invalid value '-1' for '--seed <N>': must be a whole number from 0 to 9223372036854775807
    hint: `--help` lists the flags
    ");
    for (command, either) in [
        ("convert", "<FILE|--line <LINE>>"),
        ("predict", "<--input <PATH>...|--list <FILE>...>"),
    ] {
        let complaint = self::refused(&sandbox, &[command]);
        assert!(complaint.contains(either), "{complaint}");
    }
    insta::assert_snapshot!(refused(&["--preset", "best-balanc"]), @r"
    error: unknown preset `best-balanc`, expected one of `best-balance`, `max-memory`, `speed`
    hint: did you mean `best-balance`?
    ");
    insta::assert_snapshot!(refused(&["--device", "gpu"]), @r"
    error: invalid value 'gpu' for '--device <DEVICE>': `gpu` is not a device: `auto`, `cpu` or `cuda[:N]`
    hint: `--help` lists the flags
    ");
    insta::assert_snapshot!(refused(&["--grad-checkpoint", "mixed", "--grad-checkpoint-plan", "convs,last"]), @r"
    error: invalid value 'convs,last' for '--grad-checkpoint-plan <STAGES>': part of a plan must be `everything`, `convs`, `last-conv` or `nothing`, found `last`
    hint: `--help` lists the flags
    ");
    insta::assert_snapshot!(refused(&["--grad-checkpoint", "mixed", "--grad-checkpoint-plan", "convs,convs"]), @r"
    error: `--grad-checkpoint-plan` must be nine letters such as `NNNNNNLNC` (E everything, C convs, L last-conv, N nothing), or nine such names, one per stage, found `CC`
    hint: `train fit --help` describes `--grad-checkpoint-plan`
    ");
    insta::assert_snapshot!(refused(&["--grad-checkpoint", "selective", "--use-reentrant", "on"]), @r"
    error: `use_reentrant` is `true`, but `grad_checkpoint_policy` is `selective`: the reentrant form runs a backward of its own inside backward, and `selective` has one schedule for the whole step
    hint: use the policy `block` or `stage`, or set `use_reentrant = false`
    ");
    insta::assert_snapshot!(refused(&["--lr", "abc"]), @r"
    error: invalid value 'abc' for '--lr <X>': must be a finite number above 0
    hint: `--help` lists the flags
    ");
    insta::assert_snapshot!(refused(&["--share-cores", "--deterministic"]), @r"
    error: `--share-cores` changes the order of sums, and `deterministic` keeps it
    hint: leave out one of them
    ");
    insta::assert_snapshot!(refused(&["--reduce", "later"]), @r"
    error: invalid value 'later' for '--reduce <auto|after|overlap|ordered>': reduction must be `auto`, `after`, `overlap` or `ordered`, found `later`
    hint: `--help` lists the flags
    ");
    insta::assert_snapshot!(refused(&["--epoch", "3"]), @r"
    error: unexpected argument '--epoch' found
    hint: a similar argument exists: '--epochs'
    ");
    insta::assert_snapshot!(refused(&["--run-name", "../up"]), @r"
    error: `--run-name` must be a name, found `../up`
    hint: `--run-dir DIR` takes a path
    ");
}

#[test]
fn a_missing_gpu() {
    let sandbox = Sandbox::with_pages();
    // Hides all GPUs, whatever the machine has.
    let mut command = sandbox.command();
    command
        .env("CUDA_VISIBLE_DEVICES", "")
        .args(small(&["--data", "data", "--device", "cuda"]));
    let run = super::Run::of(&mut command);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(
        run.complaint()
            .starts_with("error: CUDA is not available: "),
        "{run:?}"
    );
    assert!(
        run.complaint()
            .ends_with("hint: `--device cpu` runs the same on the CPU"),
        "{run:?}"
    );
    assert!(!sandbox.path("runs").exists());
}

#[test]
fn a_run_folder_that_is_not_empty() {
    let sandbox = Sandbox::with_pages();
    sandbox.write("run/best.safetensors", "mine");
    insta::assert_snapshot!(refused_fit(&sandbox, &["--run-dir", "run"]), @r"
    error: the run folder `run` is not empty
    hint: choose another `--run-dir`; nothing is overwritten
    ");
}

#[test]
fn weights_that_do_not_fit() {
    let sandbox = Sandbox::with_pages();
    let fixture = include_bytes!("../reference/fixtures/unet.safetensors");
    sandbox.write("narrow.safetensors", fixture);
    sandbox.write("cut.safetensors", &fixture[..50_000]);
    for file in ["text.safetensors", "text.pt"] {
        sandbox.write(file, "not weights at all");
    }
    let refused = |file: &str| refused_fit(&sandbox, &["--resume", file]);
    insta::assert_snapshot!(refused("narrow.safetensors"), @r"
    error: `narrow.safetensors`: holds a network of width 2 with 3 channel(s) and 1 class(es), the run has width 4 with 3 and 1
    hint: pass `--width 2 --in-channels 3 --classes 1`
    ");
    for file in ["cut.safetensors", "text.safetensors", "text.pt"] {
        let complaint = refused(file);
        let start = format!("error: `{file}`: neither a safetensors file (");
        assert!(complaint.starts_with(&start), "{complaint}");
    }
    let converted = self::refused(&sandbox, &["convert", "text.safetensors"]);
    assert_eq!(converted, refused("text.safetensors"));
    insta::assert_snapshot!(refused("none.safetensors"), @r"
    error: cannot read `none.safetensors`: No such file or directory (os error 2)
    hint: check the path
    ");
    insta::assert_snapshot!(refused("data"), @"
    error: `data` holds no snapshot to continue from
    hint: a run writes `last/snapshot.safetensors` at each epoch; `--resume FILE` starts from bare weights, such as `best.safetensors`
    ");
}

/// If a flag is given twice, the last value counts; a note says so.
#[test]
fn a_flag_given_twice() {
    let sandbox = Sandbox::with_pages();
    let flags = ["--batch", "2", "--batch", "0"];
    insta::assert_snapshot!(refused_fit(&sandbox, &flags), @r"
    error: `--batch` must be a whole number from 1 to 65536, found `0`
    hint: `train fit --help` describes `--batch`
    ");
    let run = sandbox.train(&small(&[&["--data", "data"], &flags[..]].concat()));
    let note = "note: `--batch` was given 2 times; the last value, `0`, is used\n";
    assert!(run.stderr.starts_with(note), "{run:?}");
}
