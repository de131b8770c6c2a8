//! `train import`: annotations of other tools as images and masks.

use std::path::PathBuf;

use clap::Args;
use data::import::{ClassGroup, ImportOptions, KeptClasses, import};

use super::console;
use crate::error::Result;
use crate::run::outputs::count;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Folder of images annotated in the format of COCO, `LabelMe`, YOLO (segmentation), PASCAL VOC, CVAT or
    /// Cityscapes
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// New folder for images and masks, which `fit` reads
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Keep this class only, or unite several: `vehicle=car,truck`. Repeat it for more classes, in their
    /// order
    #[arg(long, value_name = "NAME[=NAME,...]", value_parser = group)]
    class: Vec<ClassGroup>,
    /// Make one class of all objects
    #[arg(long, conflicts_with = "class")]
    one_class: bool,
}

pub(super) fn run(args: &ImportArgs) -> Result<()> {
    let classes = match (args.one_class, &args.class[..]) {
        (true, _) => KeptClasses::One,
        (false, []) => KeptClasses::All,
        (false, classes) => KeptClasses::These(classes.to_vec()),
    };
    let imported = import(
        &args.source,
        &args.out,
        &ImportOptions { classes },
        count("importing"),
    )?;
    imported
        .lines()
        .iter()
        .for_each(|line| console::print(line));
    let out = args.out.display();
    console::note(&format!(
        "next: `train inspect {out}`, then `train fit --data {out}`"
    ));
    Ok(())
}

/// A class, or several under a new name.
fn group(text: &str) -> Result<ClassGroup, String> {
    let (name, of) = text.split_once('=').unwrap_or((text, text));
    let of: Vec<String> = of.split(',').map(|it| it.trim().to_owned()).collect();
    if name.trim().is_empty() || of.iter().any(String::is_empty) {
        return Err("must be a name, or a name with others: `vehicle=car,truck`".to_owned());
    }
    Ok(ClassGroup {
        name: name.trim().to_owned(),
        of,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_kept_or_united() {
        let names = |text| group(text).map(|it| (it.name, it.of));
        let one = ("car".to_owned(), vec!["car".to_owned()]);
        assert_eq!(names("car"), Ok(one));
        let two = ["car", "truck"].map(str::to_owned);
        assert_eq!(
            names("vehicle=car, truck"),
            Ok(("vehicle".to_owned(), two.to_vec()))
        );
        for wrong in ["", "=car", "vehicle=", "vehicle=car,"] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
    }
}
