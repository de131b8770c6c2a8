//! Keeps some classes of annotations, and unites others.

use super::{ClassGroup, KeptClasses};
use crate::DataError;
use crate::annotations::{Annotations, Label};

/// Number of names in an error.
const MAX_NAMES: usize = 20;

/// Gives `found` the classes that `kept` says. Returns the number of objects that became
/// background.
///
/// # Errors
/// [`DataError::ClassChoice`].
pub(super) fn keep(found: &mut Annotations, kept: &KeptClasses) -> Result<usize, DataError> {
    let (names, labels) = match kept {
        KeptClasses::All => return Ok(0),
        KeptClasses::One => (
            vec!["foreground".to_owned()],
            vec![Label::Class(0); found.classes.len()],
        ),
        KeptClasses::These(groups) => (
            groups.iter().map(|group| group.name.clone()).collect(),
            labels(groups, &found.classes)?,
        ),
    };
    let mut dropped = 0;
    for shape in found.images.iter_mut().flat_map(|image| &mut image.shapes) {
        if let Label::Class(class) = shape.label {
            shape.label = labels[class];
            dropped += usize::from(shape.label == Label::Background);
        }
    }
    found.classes = names;
    Ok(dropped)
}

/// The label of each class once they are united.
fn labels(groups: &[ClassGroup], classes: &[String]) -> Result<Vec<Label>, DataError> {
    let mut labels = vec![Label::Background; classes.len()];
    for (index, ClassGroup { name, of }) in groups.iter().enumerate() {
        if groups[..index].iter().any(|other| other.name == *name) {
            return Err(refused(name, "is listed twice".to_owned()));
        }
        for name in of {
            let Some(class) = classes.iter().position(|class| class == name) else {
                let known = classes[..classes.len().min(MAX_NAMES)].join("`, `");
                return Err(refused(name, format!("is not annotated: found `{known}`")));
            };
            if labels[class] != Label::Background {
                return Err(refused(name, "is listed twice".to_owned()));
            }
            labels[class] = Label::Class(index);
        }
    }
    Ok(labels)
}

fn refused(name: &str, problem: String) -> DataError {
    DataError::ClassChoice {
        name: name.to_owned(),
        problem,
    }
}
