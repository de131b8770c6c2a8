//! Weights files that are read, refused, and read under other names.

use super::*;

fn of(tensors: Vec<(String, Vec<usize>)>) -> Error {
    let views = tensors.into_iter().map(|(name, shape)| {
        let view = TensorView::new(Dtype::F32, shape, &[]).unwrap();
        (name, view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    let file = WeightsFile::from_bytes(Path::new("a"), bytes).unwrap();
    file.network().unwrap_err()
}

fn model(seed: u64) -> UNet {
    UNet::new(Network::new(4, 1), Device::Cpu, seed, false).unwrap()
}

#[test]
fn a_contract_travels_with_the_weights() {
    let config = config::RunConfig {
        img_size: config::ImageSize::new(64, 96),
        seed: 7,
        crop: true,
        exact_kernels: true,
        ..config::RunConfig::default()
    };
    let contract = Contract::of(&config, None, Some(0.5));
    let (plain, with) = (
        to_bytes(&model(1), None),
        to_bytes(&model(1), Some(&contract)),
    );
    let [plain, with] =
        [plain, with].map(|bytes| WeightsFile::from_bytes(Path::new("a"), bytes.unwrap()).unwrap());
    assert_eq!(
        (plain.contract().unwrap(), with.contract().unwrap().as_ref()),
        (None, Some(&contract))
    );
    // A flag goes before it.
    let mut flags = config::Overrides {
        seed: Some(1),
        ..config::Overrides::default()
    };
    contract.fill(&mut flags);
    assert_eq!(
        (flags.img_size, flags.seed, flags.exact_kernels, flags.crop),
        (Some(config.img_size), Some(1), Some(true), Some(true))
    );
    // Files from before there was a choice.
    let text = serde_json::to_string(&Contract::of(&config::RunConfig::default(), None, None));
    let text = text.unwrap();
    assert!(
        text.contains(r#""schema_version":2"#) && !text.contains("crop"),
        "{text}"
    );
    let mut flags = config::Overrides::default();
    Contract::from_json(&text).unwrap().fill(&mut flags);
    assert_eq!(flags.crop, Some(false));
    let (a, b) = (plain.tensors().unwrap(), with.tensors().unwrap());
    assert!(
        a.names()
            .iter()
            .all(|it| a.tensor(it).unwrap() == b.tensor(it).unwrap())
    );
    let metadata = SafeTensors::read_metadata(&with.bytes).unwrap().1;
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

/// The weights of a model under other names, with `value` first in the last tensor.
fn renamed(prefix: &str, value: f32) -> WeightsFile {
    let file = WeightsFile::from_bytes(Path::new("a"), to_bytes(&model(1), None).unwrap());
    let file = file.unwrap();
    let tensors = file.tensors().unwrap();
    let data: Vec<_> = tensors
        .iter()
        .map(|(name, view)| {
            let mut data = view.data().to_vec();
            if name == "out_conv.bias" {
                data[..4].copy_from_slice(&value.to_le_bytes());
            }
            (
                format!("{prefix}{name}"),
                view.dtype(),
                view.shape().to_vec(),
                data,
            )
        })
        .collect();
    let views = data.iter().map(|(name, dtype, shape, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    WeightsFile::from_bytes(Path::new("a"), bytes).unwrap()
}

#[test]
fn prefixes_of_wrappers_do_not_matter() {
    for prefix in ["", "module.", "_orig_mod.", "model._orig_mod."] {
        let there = model(2);
        renamed(prefix, 0.5).load_into(&there).unwrap();
        let entries = there.parameters().entries();
        let bias = entries.iter().find(|it| it.spec.name == "out_conv.bias");
        let bias = bias.unwrap().tensor.double_value(&[0]);
        assert!((bias - 0.5).abs() < 1e-9, "{prefix}");
    }
    let error = renamed("other_", 0.5).network().unwrap_err();
    assert!(error.to_string().contains("(found other_"), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    for value in [f32::NAN, f32::INFINITY] {
        let error = renamed("", value).load_into(&model(2)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`out_conv.bias` holds values that are not finite"),
            "{text}"
        );
    }
}

#[test]
fn a_few_bytes_make_no_giant() {
    let ends = [("downs.0.conv.0.weight", 1024), ("out_conv.weight", 256)];
    let ends = ends.map(|(name, first)| (name.to_owned(), vec![first, 0]));
    let error = of(ends.into());
    assert!(error.to_string().contains("missing"), "{error}");
    let all = Network::new(1024, 256).parameters();
    let all = all.into_iter().map(|spec| {
        let first = shape_of(&spec).first().copied().unwrap_or(0);
        (spec.name, vec![first, 0])
    });
    let error = of(all.collect());
    assert!(error.to_string().contains("has shape [1024, 0]"), "{error}");
}
