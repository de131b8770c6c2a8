//! Each known arrangement of folders, and its neighbours.

use super::*;

#[test]
fn parts_above_images_and_masks() {
    assert_reads(
        "train/images/a.png train/images/b.JPG train/masks/a_mask.png train/masks/b_mask.png
         val/images/c.jpeg val/masks/c_mask.png test/images/d.png test/masks/d_mask.png",
        "images in `{train,val,test}/images`, masks in `{train,val,test}/masks`, masks named `STEM_mask`",
        "test d = test/images/d.png + test/masks/d_mask.png
         train a = train/images/a.png + train/masks/a_mask.png
         train b = train/images/b.JPG + train/masks/b_mask.png
         val c = val/images/c.jpeg + val/masks/c_mask.png",
    );
    for [train, val, test] in [
        ["Train", "valid", "TEST"],
        ["training", "Validation", "testing"],
        ["train", "dev", "test"],
        ["train2017", "val2017", "test2017"],
    ] {
        assert_reads(
            &format!(
                "{train}/imgs/a.png {train}/Labels/a.png {val}/imgs/a.png {val}/Labels/a.png
                 {test}/imgs/a.png {test}/Labels/a.png"
            ),
            &format!(
                "images in `{{{train},{val},{test}}}/imgs`, masks in `{{{train},{val},{test}}}/Labels`, \
                 masks named as their images"
            ),
            &format!(
                "test a = {test}/imgs/a.png + {test}/Labels/a.png
                 train a = {train}/imgs/a.png + {train}/Labels/a.png
                 val a = {val}/imgs/a.png + {val}/Labels/a.png"
            ),
        );
    }
}

#[test]
fn parts_below_images_and_masks() {
    for masks in ["masks", "labels", "annotations", "ann_dir"] {
        assert_reads(
            &format!(
                "images/train/a.jpg images/valid/b.jpg {masks}/train/a.png {masks}/valid/b.png"
            ),
            &format!(
                "images in `images/{{train,valid}}`, masks in `{masks}/{{train,valid}}`, masks named \
                 as their images"
            ),
            &format!(
                "train a = images/train/a.jpg + {masks}/train/a.png
                 val b = images/valid/b.jpg + {masks}/valid/b.png"
            ),
        );
    }
    // Only the images are in parts.
    assert_reads(
        "images/training/a.jpg images/validation/b.jpg masks/a.png masks/b.png",
        "images in `images/{training,validation}`, masks in `masks`, masks named as their images",
        "train a = images/training/a.jpg + masks/a.png
         val b = images/validation/b.jpg + masks/b.png",
    );
}

#[test]
fn one_pair_of_folders() {
    let images = [
        "images",
        "imgs",
        "image",
        "img",
        "JPEGImages",
        "input",
        "inputs",
        "data",
        "frames",
    ];
    let masks = [
        "masks",
        "mask",
        "labels",
        "label",
        "SegmentationClass",
        "SegmentationClassPNG",
        "annotations",
        "gt",
        "ground_truth",
        "targets",
        "segmentation",
        "output",
        "outputs",
    ];
    let with_images = masks.map(|masks| ("images", masks));
    let with_masks = images.map(|images| (images, "masks"));
    for (images, masks) in with_images
        .into_iter()
        .chain(with_masks)
        .chain([("input", "output"), ("X", "y")])
    {
        assert_reads(
            &format!("{images}/a.png {images}/b.png {masks}/a.png {masks}/b.png"),
            &format!("images in `{images}`, masks in `{masks}`, masks named as their images"),
            &format!(
                "any a = {images}/a.png + {masks}/a.png
                 any b = {images}/b.png + {masks}/b.png"
            ),
        );
    }
}

#[test]
fn part_and_kind_in_one_name() {
    // Carvana, as Kaggle has it.
    assert_reads(
        "train/a_01.jpg train/b_01.jpg train_masks/a_01_mask.gif train_masks/b_01_mask.gif test/c_01.jpg",
        "images in `{train,test}`, masks in `train_masks`, masks named `STEM_mask`",
        "any a_01 = train/a_01.jpg + train_masks/a_01_mask.gif
         any b_01 = train/b_01.jpg + train_masks/b_01_mask.gif",
    );
    // SegNet's CamVid.
    assert_reads(
        "train/a.png trainannot/a.png val/b.png valannot/b.png",
        "images in `{train,val}`, masks in `trainannot` and `valannot`, masks named as their images",
        "train a = train/a.png + trainannot/a.png
         val b = val/b.png + valannot/b.png",
    );
    assert_reads(
        "images_train/a.png masks_train/a.png images_val/b.png masks_val/b.png",
        "images in `images_train` and `images_val`, masks in `masks_train` and `masks_val`, masks named \
         as their images",
        "train a = images_train/a.png + masks_train/a.png
         val b = images_val/b.png + masks_val/b.png",
    );
    // ISIC 2018: further words in the names.
    assert_reads(
        "ISIC2018_Task1-2_Training_Input/ISIC_1.jpg ISIC2018_Task1-2_Validation_Input/ISIC_2.jpg
         ISIC2018_Task1_Training_GroundTruth/ISIC_1_segmentation.png
         ISIC2018_Task1_Validation_GroundTruth/ISIC_2_segmentation.png",
        "images in `ISIC2018_Task1-2_Training_Input` and `ISIC2018_Task1-2_Validation_Input`, masks in \
         `ISIC2018_Task1_Training_GroundTruth` and `ISIC2018_Task1_Validation_GroundTruth`, masks named \
         `STEM_segmentation`",
        "train ISIC_1 = ISIC2018_Task1-2_Training_Input/ISIC_1.jpg + \
                        ISIC2018_Task1_Training_GroundTruth/ISIC_1_segmentation.png
         val ISIC_2 = ISIC2018_Task1-2_Validation_Input/ISIC_2.jpg + \
                      ISIC2018_Task1_Validation_GroundTruth/ISIC_2_segmentation.png",
    );
}

/// The lists of Pascal VOC decide, and masks of objects are no masks of classes.
#[test]
fn pascal_voc() {
    let dir = tree(
        "JPEGImages/a.jpg JPEGImages/b.jpg JPEGImages/c.jpg JPEGImages/d.jpg JPEGImages/e.jpg
         SegmentationClass/a.png SegmentationClass/b.png SegmentationClass/c.png
         SegmentationObject/a.png SegmentationObject/b.png SegmentationObject/c.png
         Annotations/a.xml ImageSets/Main/train.txt",
    );
    add(&dir, "ImageSets/Segmentation/train.txt", "a\nc\n");
    add(&dir, "ImageSets/Segmentation/val.txt", "b\r\n");
    add(&dir, "ImageSets/Segmentation/trainval.txt", "a\nb\nc\n");
    add(&dir, "ImageSets/Segmentation/test.txt", "d\n");
    let expected = [
        "train a = JPEGImages/a.jpg + SegmentationClass/a.png",
        "train c = JPEGImages/c.jpg + SegmentationClass/c.png",
        "val b = JPEGImages/b.jpg + SegmentationClass/b.png",
    ];
    assert_eq!(pairs(&dir), expected);
    assert_eq!(
        scanned(&dir).unwrap().notes,
        [
            "test images without a mask: 1 left out (`JPEGImages/d.jpg`)",
            "images outside the folders that are read: 3 left out (`SegmentationObject/a.png`, \
             `SegmentationObject/b.png`, `SegmentationObject/c.png`)",
            "images in no list of the split: 1 left out (`JPEGImages/e.jpg`)",
        ]
    );
    // The whole archive, with two folders around.
    let outer = tempfile::tempdir().unwrap();
    let whole = outer.path().join("VOCdevkit/VOC2012");
    fs::create_dir_all(whole.parent().unwrap()).unwrap();
    fs::rename(dir.path(), &whole).unwrap();
    let found = pairs(&outer);
    assert_eq!(
        (found.len(), stems(&scanned(&outer).unwrap().val)),
        (3, vec!["b"])
    );
}

#[test]
fn lists_of_other_tools() {
    // CVAT has one list, with which nothing is held out.
    let dir = tree(
        "JPEGImages/a.jpg JPEGImages/b.jpg JPEGImages/c.jpg SegmentationClass/a.png SegmentationClass/b.png",
    );
    add(&dir, "ImageSets/Segmentation/default.txt", "a\nb\n");
    assert_eq!(pairs(&dir).len(), 2);
    // fast.ai lists only what is held out, with endings.
    let dir = tree(
        "images/a.png images/b.png images/c.png labels/a_P.png labels/b_P.png labels/c_P.png codes.txt",
    );
    add(&dir, "valid.txt", "b.png\n");
    let found = scanned(&dir).unwrap();
    assert_eq!(
        (stems(&found.train), stems(&found.val)),
        (vec!["a", "c"], vec!["b"])
    );
    // Paths of other machines, an image and its mask in a line; an image that is held out is never
    // trained on.
    let dir = tree("images/a.png images/b.png labels/a.png labels/b.png");
    add(
        &dir,
        "train.txt",
        "/data/set/images/a.png /data/set/labels/a.png\n/data/set/images/b.png\n",
    );
    add(&dir, "val.txt", "./images/b.png\n");
    let found = scanned(&dir).unwrap();
    assert_eq!(
        (stems(&found.train), stems(&found.val)),
        (vec!["a"], vec!["b"])
    );
    // Texts that are no lists.
    let dir = tree("images/a.png images/b.png labels/a.png labels/b.png");
    add(&dir, "test.txt", "this folder was tested\n");
    assert_eq!(pairs(&dir).len(), 2);
}

#[test]
fn one_folder_for_images_and_masks() {
    for affix in [
        "_mask",
        "_seg",
        "_label",
        "_labels",
        "_gt",
        "_annotation",
        "-mask",
        ".mask",
        "_L",
        "_labelIds",
        "_Mask",
        "_ground_truth",
        "_segm",
        "_XYZ",
    ] {
        assert_reads(
            &format!("a.jpg b.jpg a{affix}.png b{affix}.png"),
            &format!("images and masks in the folder itself, masks named `STEM{affix}`"),
            &format!("any a = a.jpg + a{affix}.png\nany b = b.jpg + b{affix}.png"),
        );
    }
    assert_reads(
        "x/mask_1.png x/mask_2.png x/1.png x/2.png",
        "images and masks in `x`, masks named `mask_STEM`",
        "any 1 = x/1.png + x/mask_1.png\nany 2 = x/2.png + x/mask_2.png",
    );
    // DeepGlobe: both have an affix.
    assert_reads(
        "train/1_sat.jpg train/1_mask.png train/2_sat.jpg train/2_mask.png valid/3_sat.jpg valid/3_mask.png",
        "images and masks in `{train,valid}`, the mask of `STEM_sat` is `STEM_mask`",
        "train 1_sat = train/1_sat.jpg + train/1_mask.png
         train 2_sat = train/2_sat.jpg + train/2_mask.png
         val 3_sat = valid/3_sat.jpg + valid/3_mask.png",
    );
    // Only the ending differs.
    assert_reads(
        "a.jpg a.png b.JPEG b.png",
        "images and masks in the folder itself, masks named as their images",
        "any a = a.jpg + a.png\nany b = b.JPEG + b.png",
    );
    // A folder for each patient, as in the LGG set.
    assert_reads(
        "p1/p1_1.tif p1/p1_1_mask.tif p2/p2_1.tif p2/p2_1_mask.tif",
        "images and masks in the folder itself, masks named `STEM_mask`",
        "any p1/p1_1 = p1/p1_1.tif + p1/p1_1_mask.tif\nany p2/p2_1 = p2/p2_1.tif + p2/p2_1_mask.tif",
    );
    // A folder for each image, as `labelme_json_to_dataset` makes them.
    assert_reads(
        "a_json/img.png a_json/label.png a_json/label_viz.png b_json/img.png b_json/label.png
         b_json/label_viz.png b_json/label_names.txt",
        "images and masks in the folder itself",
        "any a_json/img = a_json/img.png + a_json/label.png\nany b_json/img = b_json/img.png + b_json/label.png",
    );
}

#[test]
fn roboflow() {
    let file = |name: &str| format!("{name}_jpg.rf.0a1b2c");
    let [a, b, c] = ["a", "b", "c"].map(file);
    assert_reads(
        &format!(
            "train/{a}.jpg train/{a}_mask.png train/_classes.csv valid/{b}.jpg valid/{b}_mask.png
             valid/_classes.csv test/{c}.jpg test/{c}_mask.png README.roboflow.txt"
        ),
        "images and masks in `{train,valid,test}`, masks named `STEM_mask`",
        &format!(
            "test {c} = test/{c}.jpg + test/{c}_mask.png
             train {a} = train/{a}.jpg + train/{a}_mask.png
             val {b} = valid/{b}.jpg + valid/{b}_mask.png"
        ),
    );
}

#[test]
fn cityscapes() {
    let (a, b) = ("aachen/aachen_000000_000019", "bonn/bonn_000001_000019");
    let masks = |stem: &str| {
        ["color", "instanceIds", "labelIds"]
            .map(|it| format!("gtFine/{stem}_gtFine_{it}.png"))
            .join(" ")
    };
    assert_reads(
        &format!(
            "leftImg8bit/train/{a}_leftImg8bit.png {} leftImg8bit/val/{b}_leftImg8bit.png {}
             gtFine/train/{a}_gtFine_polygons.json",
            masks(&format!("train/{a}")),
            masks(&format!("val/{b}")),
        ),
        "images in `leftImg8bit/{train,val}`, masks in `gtFine/{train,val}`, the mask of \
         `STEM_leftImg8bit` is `STEM_gtFine_labelIds`",
        &format!(
            "train {a}_leftImg8bit = leftImg8bit/train/{a}_leftImg8bit.png + gtFine/train/{a}_gtFine_labelIds.png
             val {b}_leftImg8bit = leftImg8bit/val/{b}_leftImg8bit.png + gtFine/val/{b}_gtFine_labelIds.png"
        ),
    );
    // Without folders.
    assert_reads(
        "a_leftImg8bit.png a_gtFine_labelIds.png b_leftImg8bit.png b_gtFine_labelIds.png",
        "images and masks in the folder itself, the mask of `STEM_leftImg8bit` is `STEM_gtFine_labelIds`",
        "any a_leftImg8bit = a_leftImg8bit.png + a_gtFine_labelIds.png
         any b_leftImg8bit = b_leftImg8bit.png + b_gtFine_labelIds.png",
    );
}

#[test]
fn nnu_net() {
    assert_reads(
        "Dataset001_X/imagesTr/X_001_0000.png Dataset001_X/imagesTr/X_002_0000.png
         Dataset001_X/labelsTr/X_001.png Dataset001_X/labelsTr/X_002.png
         Dataset001_X/imagesTs/X_003_0000.png Dataset001_X/dataset.json",
        "images in `Dataset001_X/imagesTr` and `Dataset001_X/imagesTs`, masks in `Dataset001_X/labelsTr`, \
         the mask of `STEM_0000` is `STEM`",
        "any X_001_0000 = Dataset001_X/imagesTr/X_001_0000.png + Dataset001_X/labelsTr/X_001.png
         any X_002_0000 = Dataset001_X/imagesTr/X_002_0000.png + Dataset001_X/labelsTr/X_002.png",
    );
    let (text, hint) = refusal(&tree(
        "imagesTr/X_001_0000.tif imagesTr/X_001_0001.tif imagesTr/X_002_0000.tif imagesTr/X_002_0001.tif
         labelsTr/X_001.tif labelsTr/X_002.tif",
    ));
    assert_eq!(
        text,
        "`DIR`: 2 channels per case, such as those of `imagesTr/X_001_0000.tif`"
    );
    assert!(hint.contains("join the channels"), "{hint}");
}

#[test]
fn masks_of_objects() {
    // The Data Science Bowl of 2018: the second image has one object.
    assert_reads(
        "stage1_train/0a/images/0a.png stage1_train/0a/masks/1f.png stage1_train/0a/masks/9c.png
         stage1_train/0b/images/0b.png stage1_train/0b/masks/77.png
         stage1_test/0c/images/0c.png",
        "images in `{stage1_train,stage1_test}/*/images`, masks in `stage1_train/*/masks`, the masks of an \
         image are united",
        "any 0a/0a = stage1_train/0a/images/0a.png + stage1_train/0a/masks/1f.png + stage1_train/0a/masks/9c.png
         any 0b/0b = stage1_train/0b/images/0b.png + stage1_train/0b/masks/77.png",
    );
    // A folder of masks for each image.
    assert_reads(
        "images/a.jpg images/b.jpg masks/a/0.png masks/a/1.png masks/b/0.png",
        "images in `images`, masks in `masks`, the masks of an image are united",
        "any a = images/a.jpg + masks/a/0.png + masks/a/1.png\nany b = images/b.jpg + masks/b/0.png",
    );
    // A folder for each image with one mask.
    assert_reads(
        "1/image.png 1/mask.png 2/image.png 2/mask.png",
        "images and masks in the folder itself",
        "any 1/image = 1/image.png + 1/mask.png\nany 2/image = 2/image.png + 2/mask.png",
    );
}

#[test]
fn folders_around_and_below() {
    // Equal names in different folders, without and with a folder around all masks.
    for below in ["", "all/"] {
        assert_reads(
            &format!("images/x/a.png images/y/a.png masks/{below}x/a.png masks/{below}y/a.png"),
            "images in `images`, masks in `masks`, masks named as their images",
            &format!(
                "any x/a = images/x/a.png + masks/{below}x/a.png\nany y/a = images/y/a.png + masks/{below}y/a.png"
            ),
        );
    }
    // Images in folders, masks in one.
    assert_reads(
        "images/x/a.png images/y/b.png masks/a.png masks/b.png",
        "images in `images`, masks in `masks`, masks named as their images",
        "any x/a = images/x/a.png + masks/a.png\nany y/b = images/y/b.png + masks/b.png",
    );
    // A folder for each site.
    assert_reads(
        "s1/images/a.png s1/masks/a.png s2/images/a.png s2/masks/a.png",
        "images in `*/images`, masks in `*/masks`, masks named as their images",
        "any s1/a = s1/images/a.png + s1/masks/a.png\nany s2/a = s2/images/a.png + s2/masks/a.png",
    );
    // Folders around everything, one of which could mean images.
    assert_reads(
        "old/data/images/a.png old/data/images/b.png old/data/masks/a.png old/data/masks/b.png readme.txt",
        "images in `old/data/images`, masks in `old/data/masks`, masks named as their images",
        "any a = old/data/images/a.png + old/data/masks/a.png\nany b = old/data/images/b.png + old/data/masks/b.png",
    );
    // Masks in a folder below the images.
    assert_reads(
        "a.jpg b.jpg masks/a.png masks/b.png",
        "images in the folder itself, masks in `masks`, masks named as their images",
        "any a = a.jpg + masks/a.png\nany b = b.jpg + masks/b.png",
    );
}

/// Parts at different depths: the polyp sets of `PraNet`, and the test images of a well-known U-Net.
#[test]
fn parts_that_are_arranged_differently() {
    assert_reads(
        "TrainDataset/image/1.png TrainDataset/masks/1.png ValDataset/Kvasir/images/1.png
         ValDataset/Kvasir/masks/1.png ValDataset/ETIS/images/1.png ValDataset/ETIS/masks/1.png",
        "images in `ValDataset/*/images` and `TrainDataset/image`, masks in `ValDataset/*/masks` and \
         `TrainDataset/masks`, masks named as their images",
        "train 1 = TrainDataset/image/1.png + TrainDataset/masks/1.png
         val ETIS/1 = ValDataset/ETIS/images/1.png + ValDataset/ETIS/masks/1.png
         val Kvasir/1 = ValDataset/Kvasir/images/1.png + ValDataset/Kvasir/masks/1.png",
    );
    assert_reads(
        "data/membrane/train/image/0.png data/membrane/train/image/1.png data/membrane/train/label/0.png
         data/membrane/train/label/1.png data/membrane/test/0.png data/membrane/test/0_predict.png",
        "images in `data/membrane/train/image`, masks in `data/membrane/train/label`, masks named as their \
         images",
        "any 0 = data/membrane/train/image/0.png + data/membrane/train/label/0.png
         any 1 = data/membrane/train/image/1.png + data/membrane/train/label/1.png",
    );
}

/// `predict` asks whether masks that it is about to write would be read as data.
#[test]
fn files_that_are_not_there_yet_can_be_asked_about() {
    let dir = tree(
        "train/images/a.png train/images/b.png train/masks/a_mask.png val/images/c.png val/masks/c_mask.png \
         test/images/d.png notes/e.png",
    );
    let files = |all: &str| -> std::collections::BTreeSet<_> {
        all.split_whitespace().map(PathBuf::from).collect()
    };
    let found = contents(dir.path(), &[], None).unwrap().unwrap();
    let images = "train/images/a.png train/images/b.png val/images/c.png test/images/d.png";
    assert_eq!(found.images, files(images));
    assert_eq!(
        found.masks,
        files("train/masks/a_mask.png val/masks/c_mask.png")
    );
    assert!(holds_both(dir.path()) && holds_both(&dir.path().join("val")));
    assert!(!holds_both(&dir.path().join("notes")));

    let is_read = |name: &str| {
        let name = PathBuf::from(name);
        let known = contents(dir.path(), slice::from_ref(&name), None);
        known.map_or(true, |it| {
            it.is_none_or(|it| it.masks.contains(&name) || it.images.contains(&name))
        })
    };
    for name in [
        "train/masks/b_mask.png",
        "val/images/c_mask.png",
        "train/labels/b_mask.png",
    ] {
        assert!(is_read(name), "{name}");
    }
    for name in [
        "pred/b_mask.png",
        "train/pred_masks/b_mask.png",
        "val/pred/c_mask.png",
        "pred/train/images/b_mask.png",
    ] {
        assert!(!is_read(name), "{name}");
    }
    let without = contents(&dir.path().join("val"), &[], Some(Path::new("masks")));
    assert_eq!(without.unwrap(), None);
    // Names of files alone say too little.
    assert_eq!(
        contents(tree("a_left.png a_right.png").path(), &[], None).unwrap(),
        None
    );
}
