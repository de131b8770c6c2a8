//! Every error that a user can cause, as it is printed.

use config::{ConfigError, ImageSize, Overrides, resolve};

/// The message and the hint, without the folder of the test.
fn shown(error: &ConfigError, folder: &std::path::Path) -> String {
    let mut text = format!("error: {error}");
    if let Some(hint) = error.hint() {
        text.push_str("\n  hint: ");
        text.push_str(&hint);
    }
    text.replace(&format!("{}/", folder.display()), "")
}

fn file_error(name: &str, contents: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, contents).unwrap();
    match resolve(None, Some(&path), Overrides::default()) {
        Ok(_) => panic!("{name} was accepted"),
        Err(error) => shown(&error, folder.path()),
    }
}

fn flag_error(flags: Overrides) -> String {
    shown(
        &resolve(None, None, flags).unwrap_err(),
        std::path::Path::new("nowhere"),
    )
}

#[test]
fn files() {
    let cases: &[(&str, &str)] = &[
        ("the guide's spelling", "USE_AMP = true"),
        ("the guide's size", "batch = 4\n\nIMG_SIZE = [512, 512]"),
        ("the guide's batch", "BATCH = 8"),
        ("a typing slip", "batch = 8\nepocs = 4"),
        ("another program's word", "learning_rate = 0.1"),
        ("nothing like a key", "zzz = 1"),
        ("a table", "[train]\nbatch = 4"),
        ("a quoted number", "lr = 1e-3\nbatch = \"12\""),
        ("a fraction", "batch = 12.5"),
        ("zero", "batch = 0"),
        ("negative", "batch = -1"),
        ("more than 32 bits", "batch = 1099511627776"),
        ("not a number", "lr = nan"),
        ("infinite", "lr = inf"),
        ("no learning", "lr = 0"),
        ("a quoted switch", "use_amp = \"true\""),
        ("a number for a switch", "use_amp = 1"),
        ("sides of 500", "img_size = [500, 512]"),
        ("a negative side", "img_size = [-16, 512]"),
        ("one side", "img_size = [512]"),
        ("one number", "img_size = 512"),
        ("a string", "img_size = \"512x512\""),
        (
            "sides in a long array",
            "batch = 2\nimg_size = [\n  512,\n  \"512\",\n]",
        ),
        ("zero width", "width = 0"),
        ("257 classes", "classes = 257"),
        ("no epochs", "epochs = 0"),
        ("no accumulation", "accumulation = 0"),
        ("negative scale", "init_scale = -1.0"),
        ("all for validation", "val_percent = 100"),
        ("negative decay", "weight_decay = -0.1"),
        ("an unknown type", "amp_dtype = \"float16\""),
        (
            "an unknown policy",
            "grad_checkpoint_policy = \"Selective\"",
        ),
        ("an unknown preset", "preset = \"best_balance\""),
        ("a later schema", "batch = 1\nschema_version = 2"),
        ("a schema in words", "schema_version = \"one\""),
        ("Python", "batch = 8\nuse_amp = True"),
        ("half a line", "batch = 8\nlr ="),
        ("twice", "batch = 8\nbatch = 9"),
        (
            "policy without switch",
            "grad_checkpoint_policy = \"stage\"",
        ),
        (
            "switch without policy",
            "use_grad_checkpoint = true\ngrad_checkpoint_policy = \"off\"",
        ),
        (
            "reentrant and selective",
            "use_grad_checkpoint = true\ngrad_checkpoint_policy = \"selective\"\n\
             use_reentrant = true",
        ),
    ];
    let text: Vec<_> = cases
        .iter()
        .map(|(name, toml)| format!("# {name}\n{}\n", file_error(name, toml.as_bytes())))
        .collect();
    insta::assert_snapshot!("files", text.join("\n"));
}

#[test]
fn flags() {
    let set = |change: fn(&mut Overrides)| {
        let mut flags = Overrides::default();
        change(&mut flags);
        flag_error(flags)
    };
    let shown = [
        set(|flags| flags.batch = Some(0)),
        set(|flags| flags.batch = Some(70_000)),
        set(|flags| flags.lr = Some(f64::NAN)),
        set(|flags| flags.img_size = Some(ImageSize::new(500, 500))),
        set(|flags| flags.img_size = Some(ImageSize::new(8, 8))),
        set(|flags| flags.seed = Some(u64::MAX)),
        set(|flags| flags.max_steps = Some(0)),
        set(|flags| flags.workers = Some(5000)),
        set(|flags| flags.grad_checkpoint_policy = Some(config::CheckpointPolicy::Mixed)),
    ];
    insta::assert_snapshot!("flags", shown.join("\n"));
}

#[test]
fn missing_files_and_presets() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("speed.toml");
    let error = resolve(None, Some(&missing), Overrides::default()).unwrap_err();
    let mut text = shown(&error, folder.path());
    for name in ["best_balance", "bestbalance", "Speed", "fast", ""] {
        let error = resolve(Some(name), None, Overrides::default()).unwrap_err();
        text = format!("{text}\n{}", shown(&error, folder.path()));
    }
    let error = resolve(None, Some(folder.path()), Overrides::default()).unwrap_err();
    text = format!("{text}\n{}", error.hint().unwrap());
    text = format!("{text}\n{}", file_error("Latin-1", b"# r\xe9sum\xe9"));
    insta::assert_snapshot!("missing", text);
}

#[test]
fn values() {
    let errors = [
        "512".parse::<ImageSize>().unwrap_err(),
        "on".parse::<config::AmpFlag>().unwrap_err(),
        "blok".parse::<config::CheckpointFlag>().unwrap_err(),
        "yes".parse::<config::Switch>().unwrap_err(),
    ];
    let text = errors.map(|error| shown(&error, std::path::Path::new("nowhere")));
    insta::assert_snapshot!("values", text.join("\n"));
}
