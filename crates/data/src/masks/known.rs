//! Colours of well-known sets.

/// Names of PASCAL VOC's classes, background first.
const VOC: [&str; 21] = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];
/// The colour of VOC's border between objects, entry 255 of its palette.
pub(super) const VOC_VOID: u32 = 0x00E0_E0C0;

/// The class of a colour of VOC.
pub(super) fn voc(colour: u32) -> Option<u8> {
    let mut classes = (0..).take(VOC.len());
    classes.find(|&class| voc_colour(class) == colour)
}

/// The palette of PASCAL VOC: 256 colours, RGB.
pub fn voc_palette() -> Vec<u8> {
    let rgb = |index| voc_colour(index).to_be_bytes().into_iter().skip(1);
    (0..=u8::MAX).flat_map(rgb).collect()
}

/// The colour of an index of VOC: the bits of the index, from the highest bits of red, green and blue down.
const fn voc_colour(index: u8) -> u32 {
    let (mut colour, mut bit) = (0, 0);
    while bit < 8 {
        let channel = 2 - bit % 3;
        let value = (index as u32 >> bit) & 1;
        colour |= value << (8 * channel + 7 - bit / 3);
        bit += 1;
    }
    colour
}

/// The names of the first `num` classes of VOC.
pub(super) fn voc_names(num: usize) -> Vec<String> {
    VOC.iter().take(num).map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_palette_is_vocs() {
        assert_eq!(voc_colour(1), 0x0080_0000);
        assert_eq!(voc_colour(15), 0x00C0_8080);
        assert_eq!(voc_colour(255), VOC_VOID);
        assert_eq!(voc(0x00C0_8080), Some(15));
        assert_eq!(voc(0x0001_0203), None);
    }
}
