//! How libtorch's caching allocator takes memory from a GPU.

/// The kind of segments, chosen by `expandable_segments` in the allocator's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "expandable_segments")]
pub enum Segments {
    /// A segment for each large tensor, PyTorch's default. Free space between tensors is lost to
    /// larger ones.
    Fixed,
    /// Segments that grow page by page, which Snug turns on: less memory is lost between tensors.
    #[default]
    Expandable,
}

/// Where libtorch reads its settings; the first that is set counts.
const VARIABLES: [&str; 2] = ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];

impl Segments {
    /// What the environment asks for; `None` if it leaves the choice open.
    pub fn of_environment() -> Option<Self> {
        let settings = VARIABLES
            .into_iter()
            .find_map(|name| std::env::var(name).ok());
        Self::of_settings(&settings?)
    }

    /// What settings such as `expandable_segments:False,max_split_size_mb:128` ask for. The last
    /// mention counts.
    pub fn of_settings(settings: &str) -> Option<Self> {
        let mut pairs = settings.split(',').filter_map(|pair| pair.split_once(':'));
        let (_, value) = pairs.rfind(|(key, _)| key.trim() == "expandable_segments")?;
        Some(if value.trim() == "True" {
            Self::Expandable
        } else {
            Self::Fixed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mention_counts() {
        let of = Segments::of_settings;
        assert_eq!(of(""), None);
        assert_eq!(of("max_split_size_mb:128"), None);
        assert_eq!(of("expandable_segments:True"), Some(Segments::Expandable));
        let twice = "expandable_segments:True, max_split_size_mb:128, expandable_segments:False";
        assert_eq!(of(twice), Some(Segments::Fixed));
    }
}
