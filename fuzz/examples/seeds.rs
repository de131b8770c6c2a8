//! Writes the seeds: a few small files for each target, from which `cargo fuzz` starts. Run
//! `cargo +nightly run --example seeds` in this folder.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use advisor::ledger::{Device, Entry, LargestBatch, Measured, Predicted, Shape};
use config::{Keep, RunConfig, preset_toml, presets};
use image::{DynamicImage, ImageFormat, RgbImage};
use png::{BitDepth, ColorType};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tch::Kind;
use train::run::snapshot::{DataId, Record, State};
use engine::trainer::Trainer;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn main() {
    config_toml();
    weights();
    snapshot();
    image_folder();
    folder();
    measurements();
}

fn put(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = PathBuf::from(HERE).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::write(folder.join(name), bytes).expect("a file can be written");
}

fn config_toml() {
    for name in presets() {
        let text = preset_toml(name).expect("it is one of them");
        put("config_toml", &format!("{name}.toml"), text);
    }
    let all = RunConfig {
        preset: Some("speed".to_owned()),
        use_grad_checkpoint: true,
        grad_checkpoint_policy: Some(config::CheckpointPolicy::Mixed),
        grad_checkpoint_plan: Some(vec![Keep::Everything; 9]),
        max_steps: Some(7),
        ..RunConfig::default()
    };
    put("config_toml", "all.toml", all.to_toml());
}

fn weights() {
    let model = fuzz::trainer().model;
    let half = model.parameters().entries().iter().map(|entry| {
        let shape = entry.spec.shape.iter();
        let shape: Vec<usize> = shape
            .map(|&it| it.try_into().expect("it is small"))
            .collect();
        let tensor = entry.tensor.to_kind(match entry.tensor.kind() {
            Kind::Int64 => Kind::Int64,
            _ => Kind::Half,
        });
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        (entry.spec.name.clone(), tensor.kind(), shape, bytes)
    });
    let half: Vec<_> = half.collect();
    let views = half.iter().map(|(name, kind, shape, bytes)| {
        let dtype = match kind {
            Kind::Int64 => Dtype::I64,
            _ => Dtype::F16,
        };
        let view = TensorView::new(dtype, shape.clone(), bytes).expect("it fits");
        (name.clone(), view)
    });
    let views: Vec<_> = views.collect();
    let file = |views: Vec<_>| safetensors::serialize(views, None).expect("it fits");
    put("safetensors", "network.safetensors", file(views.clone()));
    let ends = [views[0].clone(), views[views.len() - 2].clone()];
    put("safetensors", "ends.safetensors", file(ends.into()));

    // Made by `tests/reference/state_dict.py`.
    let path = Path::new(HERE).join("../tests/reference/fixtures/checkpoint.pt");
    let checkpoint = fs::read(path).expect("the checkout is whole");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(checkpoint)).expect("a zip");
    let mut pickle = Vec::new();
    let mut file = archive.by_name("checkpoint/data.pkl").expect("it is there");
    file.read_to_end(&mut pickle).expect("it is whole");
    put("pickle", "checkpoint.pkl", pickle);

    // {'model': {'downs.0.conv.0.weight': a tensor, 'out_conv.weight': a parameter}}
    let mut small =
        b"\x80\x02}q\x00X\x05\x00\x00\x00modelq\x01ccollections\nOrderedDict\n)Rq\x02".to_vec();
    small.extend(
        b"(X\x15\x00\x00\x00downs.0.conv.0.weightq\x03ctorch._utils\n_rebuild_tensor_v2\nq\x04",
    );
    small.extend(b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK@t");
    small.extend(b"QK\x00(K\x01K\x03K\x03K\x03t(K\x1bK\x09K\x03K\x01t\x89ccollections\nOrderedDict\n)Rtq\x05R");
    small.extend(b"X\x0f\x00\x00\x00out_conv.weightctorch._utils\n_rebuild_parameter\nh\x04(");
    small.extend(b"(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x001X\x03\x00\x00\x00cpuK\x04tQ");
    small.extend(
        b"K\x00(K\x01K\x01K\x01K\x01tctorch\nSize\n(K\x01K\x01K\x01K\x01t\x85RtR\x88N\x87Rus.",
    );
    put("pickle", "small.pkl", &small);
    let files: [(&str, &[u8]); 4] = [
        ("w/data.pkl", &small),
        ("w/byteorder", b"little"),
        ("w/data/0", &[7; 256]),
        ("w/data/1", &[9; 8]),
    ];
    put("pytorch", "small.pt", fuzz::archive(&files));
}

fn state(trainer: &Trainer) -> State {
    State {
        snug: "0.1.0".to_owned(),
        libtorch: "2.11.0".to_owned(),
        device: "cpu".to_owned(),
        precision: trainer.precision.as_str().to_owned(),
        config: trainer.config.to_toml(),
        asked: trainer.config.to_toml(),
        data: DataId {
            name: "pages".to_owned(),
            folder: Some("data".to_owned()),
            train: 3,
            val: 2,
            names: "00".repeat(32),
        },
        trainer: trainer.state().expect("it is new"),
        record: Record::default(),
    }
}

fn snapshot() {
    // `train` itself writes `State` as TOML, together with the tensors.
    let trainer = fuzz::trainer();
    let run = fuzz::folder();
    train::run::snapshot::Store::of_run(&run)
        .write(&state(&trainer), &[])
        .expect("it can be written");
    let bytes = fs::read(run.join("last").join(train::run::snapshot::SNAPSHOT)).expect("it is there");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("it is whole");
    let text = &metadata.metadata().as_ref().expect("it has some")["snug_state"];
    put("snapshot", "empty.safetensors", &bytes);
    put("snapshot", "state.toml", text);
    put(
        "snapshot",
        "one_tensor.safetensors",
        fuzz::snapshot_of(text),
    );
    fs::remove_dir_all(run).expect("it can be removed");
}

fn image_folder() {
    let pair = |classes: u8, image: &[u8], mask: &[u8]| {
        let len = u16::try_from(image.len()).expect("it is small");
        [&[classes], &len.to_le_bytes()[..], image, mask].concat()
    };
    let picture = RgbImage::from_fn(20, 12, |x, y| {
        image::Rgb([x, y, x ^ y].map(|it| (it * 11 % 256).try_into().expect("below 256")))
    });
    let encoded = |picture: &DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture
            .write_to(&mut bytes, format)
            .expect("it can be written");
        bytes.into_inner()
    };
    let picture = DynamicImage::from(picture);
    let gray = DynamicImage::from(picture.to_luma8());
    let jpeg = encoded(&picture, ImageFormat::Jpeg);
    let mask = |colour, depth, palette: &[u8], row: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 20, 12);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if !palette.is_empty() {
            encoder.set_palette(palette.to_vec());
        }
        let mut writer = encoder.write_header().expect("memory can be written");
        writer.write_image_data(&row.repeat(12)).expect("it fits");
        writer.finish().expect("memory can be written");
        bytes
    };
    let binary = mask(
        ColorType::Grayscale,
        BitDepth::Eight,
        &[],
        &[[0; 10], [255; 10]].concat(),
    );
    let bits = mask(
        ColorType::Grayscale,
        BitDepth::One,
        &[],
        &[0xf0, 0x0f, 0xa0],
    );
    let indexed = mask(
        ColorType::Indexed,
        BitDepth::Two,
        &[0, 0, 0, 255, 255, 255, 255, 0, 0],
        &[0b00_01_10_00; 5],
    );
    let deep = mask(
        ColorType::Grayscale,
        BitDepth::Sixteen,
        &[],
        &[0, 1].repeat(20),
    );
    let colour = mask(
        ColorType::Rgba,
        BitDepth::Eight,
        &[],
        &[1, 1, 1, 255].repeat(20),
    );
    let png = |picture: &DynamicImage| encoded(picture, ImageFormat::Png);
    put("image_folder", "jpeg", pair(1, &jpeg, &binary));
    put(
        "image_folder",
        "gray_jpeg",
        pair(1, &encoded(&gray, ImageFormat::Jpeg), &bits),
    );
    put("image_folder", "png", pair(3, &png(&picture), &indexed));
    put("image_folder", "gray_png", pair(2, &png(&gray), &deep));
    put(
        "image_folder",
        "deep_png",
        pair(2, &png(&picture.to_rgba16().into()), &colour),
    );
}

fn folder() {
    put(
        "folder",
        "split",
        "train/images/a.png\ntrain/masks/a_mask.png\nval/images/b.jpg\nval/masks/b.png",
    );
    put(
        "folder",
        "flat",
        "imgs/a.png\nimgs/b.JPEG\nmasks/a_mask.png\nmasks/b_mask.png\nmasks/c.gif\n",
    );
    put(
        "folder",
        "test",
        "train/images/a.png\ntrain/images/b.png\ntrain/masks/a.png\ntrain/masks/b.png\ntest/images/c.png\ntest/masks/c.png",
    );
    put(
        "folder",
        "together",
        "train/a_sat.jpg\ntrain/a_mask.png\nvalid/b_sat.jpg\nvalid/b_mask.png\nvalid/c.txt",
    );
    put(
        "folder",
        "objects",
        "train/1/images/1.png\ntrain/1/masks/a.png\ntrain/1/masks/b.png\nval/2/images/2.png\nval/2/masks/c.png",
    );
}

fn measurements() {
    let figures = |factor: f64| Measured {
        allocated_bytes: Some(1 << 30),
        reserved_bytes: Some(2 << 30),
        total_bytes: Some(3 << 30),
        images_per_second: Some(factor),
    };
    let entry = Entry {
        schema_version: 1,
        date: "2026-11-25T00:00:00Z".to_owned(),
        device: Device::cpu("a", "AVX512", 2),
        libtorch: "2.11.0".to_owned(),
        shape: Shape::of(
            &RunConfig::default(),
            "bf16",
            LargestBatch {
                train: 2,
                validation: 2,
            },
        ),
        predicted: Predicted {
            allocated_bytes: Some(1 << 30),
            reserved_bytes: Some(1 << 30),
            total_bytes: Some(1 << 30),
            images_per_second: Some(1.5),
        },
        measured: figures(2.5),
        steps: 9,
        status: "completed".to_owned(),
    };
    let line = serde_json::to_string(&entry).expect("it can be written");
    put("ledger", "one.jsonl", &line);
    put("ledger", "four.jsonl", [&*line; 4].join("\n"));
    put(
        "ledger",
        "other.jsonl",
        line.replace("\"schema_version\":1", "\"schema_version\":2"),
    );

    let row = |policy: &str, ms: f64| {
        json!({
            "implementation": "snug", "img_size": [64, 96], "width": 8, "batch": 2,
            "precision": "bf16", "memory_format": "channels-last", "policy": policy,
            "split_concat": false, "status": "ok", "step_ms_median": ms,
            "peak_allocated_bytes": 1000
        })
    };
    for (kind, name) in [("cpu", "a"), ("cuda", "NVIDIA GeForce RTX 3060")] {
        let device = json!({"kind": kind, "name": name, "cpu_capability": "AVX512", "threads": 2});
        let results = json!({
            "schema_version": 1, "device": device, "date": "2026-11-25",
            "rows": [row("off", 9.5), row("block", 12.5)]
        });
        put("calibrate", kind, results.to_string());
    }
    let rates = json!({
        "schema_version": 1, "source": "bench", "date": "2026-11-25",
        "device": {"kind": "cpu", "name": "a", "total_bytes": null, "instruction_set": "AVX2", "threads": 2},
        "precision": "fp32", "memory_format": "channels-last", "conv_flops": 1e11,
        "memory_bytes_per_second": 1e10, "num_measurements": 3
    });
    put("ledger", "rates.jsonl", rates.to_string());
}
