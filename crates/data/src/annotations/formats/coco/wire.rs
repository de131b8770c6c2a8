//! A COCO file as it is written.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::annotations::formats::number::Number;

/// The outermost object.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) images: Vec<Image>,
    pub(super) annotations: Vec<Annotation>,
    #[serde(default)]
    pub(super) categories: Vec<Category>,
}

/// An image.
#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) id: Id,
    pub(super) file_name: String,
    #[serde(default)]
    pub(super) height: Option<Number>,
    #[serde(default)]
    pub(super) width: Option<Number>,
}

/// A class.
#[derive(Debug, Deserialize)]
pub(super) struct Category {
    pub(super) id: Id,
    pub(super) name: String,
    /// Names of the joints of a body, in a file of keypoints.
    #[serde(default)]
    pub(super) keypoints: Vec<String>,
}

/// A region, or a caption or panoptic map, which have other keys.
#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    #[serde(default)]
    pub(super) id: Option<Id>,
    pub(super) image_id: Id,
    #[serde(default)]
    pub(super) category_id: Option<Id>,
    #[serde(default)]
    pub(super) segmentation: Option<Segmentation>,
    #[serde(default)]
    pub(super) iscrowd: Option<Number>,
    #[serde(default)]
    pub(super) caption: Option<String>,
    #[serde(default)]
    pub(super) segments_info: Option<serde::de::IgnoredAny>,
}

/// An id. Most are numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Id {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: an integer or a text")
            }

            fn visit_i64<E: Error>(self, id: i64) -> Result<Id, E> {
                Ok(Id::Number(id))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<Id, E> {
                i64::try_from(id).map(Id::Number).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<Id, E> {
                Ok(Id::Text(id.to_owned()))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

/// An outline.
#[derive(Debug)]
pub(super) enum Segmentation {
    /// Polygons as x, y, x, y, ...
    Polygons(Vec<Vec<f64>>),
    /// A mask.
    Rle(Rle),
}

/// A mask, column by column.
#[derive(Debug, Deserialize)]
pub(super) struct Rle {
    /// Height and width.
    pub(super) size: [u64; 2],
    pub(super) counts: Counts,
}

impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SegmentationVisitor;
        impl<'de> Visitor<'de> for SegmentationVisitor {
            type Value = Segmentation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of polygons or an RLE")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Segmentation, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Segmentation::Polygons)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Segmentation, A::Error> {
                Rle::deserialize(MapAccessDeserializer::new(map)).map(Segmentation::Rle)
            }
        }
        deserializer.deserialize_any(SegmentationVisitor)
    }
}

/// The runs of a mask.
#[derive(Debug)]
pub(super) enum Counts {
    /// Their lengths.
    Plain(Vec<u32>),
    /// Their lengths as a text.
    Compressed(String),
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountsVisitor;
        impl<'de> Visitor<'de> for CountsVisitor {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of lengths or a text")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Counts, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Counts::Plain)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Counts, E> {
                Ok(Counts::Compressed(text.to_owned()))
            }
        }
        deserializer.deserialize_any(CountsVisitor)
    }
}
