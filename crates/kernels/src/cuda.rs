//! The same kernels for an NVIDIA GPU: compiled images, and how to launch what is in them.
//!
//! `cuda/kernels.cu` is their source, and `cuda/compile.py` makes the images of it. This module knows shapes and names;
//! who launches a kernel has the pointers.

use std::ffi::{CStr, c_void};
use std::io::Read as _;

use flate2::read::ZlibDecoder;

/// Most threads of a block.
const THREADS: u32 = 256;
/// Most groups of channels of a block: with these a row is read in 512 bytes at once.
const GROUPS: u32 = 32;
/// Most parts of a sum, and most numbers of one sum of all parts. Three such sums take less than a MiB, from where on
/// libtorch's allocator would cut them from the blocks of large tensors.
const MAX_PARTS: u32 = 1024;
const MAX_SUMS: u32 = 1 << 16;
/// Pixels that a thread takes at least, in a sum and otherwise.
const PIXELS_OF_SUM: u32 = 16;
const PIXELS: u32 = 4;

/// A type of element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are clear")]
pub enum Elements {
    F32,
    F16,
    Bf16,
}

impl Elements {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Channels that a thread takes at once: the channels of a tensor must be a multiple of them.
    pub const fn at_once(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 8,
        }
    }
}

/// A kernel. `kernels.cu` says what each computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the source")]
pub enum Kernel {
    Moments,
    Statistics,
    Activate,
    ActivatePooled,
    Unpool,
    Sums,
    Gradients,
    Differentiate,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Moments,
        Self::Statistics,
        Self::Activate,
        Self::ActivatePooled,
        Self::Unpool,
        Self::Sums,
        Self::Gradients,
        Self::Differentiate,
    ];

    /// Its name in the images.
    pub const fn name(self, elements: Elements) -> &'static CStr {
        macro_rules! cstr {
            ($($part:literal),*) => {
                match CStr::from_bytes_with_nul(concat!($($part,)* "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => c"",
                }
            };
        }
        macro_rules! by_elements {
            ($name:literal) => {
                match elements {
                    Elements::F32 => cstr!($name, "_f32"),
                    Elements::F16 => cstr!($name, "_f16"),
                    Elements::Bf16 => cstr!($name, "_bf16"),
                }
            };
        }
        match self {
            Self::Moments => by_elements!("moments"),
            Self::Statistics => c"statistics_of",
            Self::Activate => by_elements!("activate"),
            Self::ActivatePooled => by_elements!("activate_pooled"),
            Self::Unpool => by_elements!("unpool"),
            Self::Sums => by_elements!("sums"),
            Self::Gradients => c"gradients_of",
            Self::Differentiate => by_elements!("differentiate"),
        }
    }
}

/// The only argument of each kernel, as in `kernels.cu`. Pointers are to device memory; those that a kernel does not use
/// may be null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the source describes each")]
pub struct Pass {
    pub x: *const c_void,
    pub y: *mut c_void,
    pub pooled: *const c_void,
    pub table: *mut f32,
    pub parts: *mut f32,
    pub weight: *const f32,
    pub bias: *const f32,
    pub input_bias: *const f32,
    pub running_mean: *mut f32,
    pub running_variance: *mut f32,
    pub weight_gradient: *mut f32,
    pub bias_gradient: *mut f32,
    pub eps: f64,
    pub momentum: f64,
    pub rows: u32,
    pub channels: u32,
    pub stride: u32,
    pub width: u32,
    pub num_parts: u32,
    pub update: u32,
    pub is_masked: u32,
}

const _AS_IN_CUDA: () = assert!(size_of::<Pass>() == 144);

/// Rows of the table of a batch norm, of one number per channel each.
pub const TABLE_ROWS: u32 = 6;

/// What kernels run on: pixels of some channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    rows: u32,
    channels: u32,
    elements: Elements,
}

/// How many blocks of how many threads, in x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are CUDA's")]
pub struct Launch {
    pub grid: [u32; 3],
    pub block: [u32; 3],
}

impl Shape {
    /// `None` if the kernels do not take it.
    pub fn new(rows: usize, channels: usize, elements: Elements) -> Option<Self> {
        // Numbers of pixels of a part and of a line are added in 32 bits.
        let rows = u32::try_from(rows).ok().filter(|it| *it < 1 << 31)?;
        let channels = u32::try_from(channels).ok().filter(|it| *it < 1 << 20)?;
        let fits = rows > 0 && channels > 0 && channels.is_multiple_of(elements.at_once());
        fits.then_some(Self {
            rows,
            channels,
            elements,
        })
    }

    /// The type of element.
    pub const fn elements(self) -> Elements {
        self.elements
    }

    /// Over how many parts of the pixels a sum is taken. The bits of a sum depend on it, so it depends on the shape
    /// alone and not on the GPU.
    pub fn parts(self) -> u32 {
        let [_, lines, _] = self.block();
        let most = MAX_PARTS.min(MAX_SUMS / self.channels).max(1);
        self.rows.div_ceil(lines * PIXELS_OF_SUM).min(most)
    }

    /// Numbers that the sums of all parts take.
    pub fn len_of_parts(self, kernel: Kernel) -> usize {
        let sums = match kernel {
            Kernel::Moments => 3,
            Kernel::Sums => 2,
            _ => 0,
        };
        sums * self.parts() as usize * self.channels as usize
    }

    /// Groups of channels by pixels.
    fn block(self) -> [u32; 3] {
        let groups = (self.channels / self.elements.at_once()).min(GROUPS);
        [groups, THREADS / groups, 1]
    }

    /// How to launch a kernel on it.
    pub fn launch(self, kernel: Kernel) -> Launch {
        let block = self.block();
        let [groups, lines, _] = block;
        let tiles = self.channels.div_ceil(groups * self.elements.at_once());
        let blocks = |pixels: u32| pixels.div_ceil(lines * PIXELS).max(1);
        let blocks = match kernel {
            Kernel::Statistics | Kernel::Gradients => {
                return Launch {
                    grid: [self.channels.div_ceil(8), 1, 1],
                    block: [8, THREADS / 8, 1],
                };
            }
            Kernel::Moments | Kernel::Sums => self.parts(),
            Kernel::ActivatePooled | Kernel::Unpool => blocks(self.rows / 4),
            Kernel::Activate | Kernel::Differentiate => blocks(self.rows),
        };
        Launch {
            grid: [blocks, tiles, 1],
            block,
        }
    }
}

macro_rules! cubin {
    ($name:literal) => {
        include_bytes!(concat!("../cuda/images/", $name, ".cubin.z"))
    };
}

/// Major and minor compute capability, and the compressed image.
const IMAGES: [(u32, u32, &[u8]); 7] = [
    (7, 5, cubin!("75")),
    (8, 0, cubin!("80")),
    (8, 6, cubin!("86")),
    (8, 9, cubin!("89")),
    (9, 0, cubin!("90")),
    (10, 0, cubin!("100")),
    (12, 0, cubin!("120")),
];

/// For GPUs later than those: the driver compiles it.
const PTX: &[u8] = include_bytes!("../cuda/images/75.ptx.z");

/// The images for a GPU of this compute capability, in the order in which to try them: the one that is compiled for it, if
/// any, and the one that its driver compiles. None for a GPU older than 7.5.
pub fn images((major, minor): (u32, u32)) -> Vec<Vec<u8>> {
    if (major, minor) < (7, 5) {
        return Vec::new();
    }
    // A cubin runs on later GPUs of the same major number, as a rule.
    let of = IMAGES
        .iter()
        .rfind(|(of, from, _)| *of == major && *from <= minor);
    let all = of.map(|(.., image)| *image).into_iter().chain([PTX]);
    let unpacked = all.map(|compressed| {
        let mut image = Vec::new();
        let len = ZlibDecoder::new(compressed).read_to_end(&mut image);
        len.ok().map(|_len| image)
    });
    unpacked.flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_images_are_made_of_this_source() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/images");
        let listed = std::fs::read_to_string(folder.join("checksums.txt")).unwrap();
        // The PTX, the source and its compiler.
        assert_eq!(listed.lines().count(), IMAGES.len() + 3);
        for line in listed.lines() {
            let (listed, name) = line.split_once("  ").unwrap();
            let mut found = String::new();
            for byte in Sha256::digest(std::fs::read(folder.join(name)).unwrap()) {
                write!(found, "{byte:02x}").unwrap();
            }
            assert_eq!(
                found, listed,
                "{name}: run `python3 crates/kernels/cuda/compile.py`"
            );
        }
    }

    #[test]
    fn each_image_has_each_kernel() {
        for capability in [
            (7, 5),
            (8, 0),
            (8, 6),
            (8, 9),
            (9, 0),
            (10, 0),
            (12, 0),
            (13, 0),
        ] {
            let images = images(capability);
            let image = images.first().unwrap();
            let is_ptx = image.starts_with(b"//");
            assert_eq!(is_ptx, capability == (13, 0), "{capability:?}");
            for kernel in Kernel::ALL {
                for elements in Elements::ALL {
                    let name = kernel.name(elements).to_bytes();
                    let has = image.windows(name.len()).any(|it| it == name);
                    assert!(has, "{capability:?} {kernel:?} {elements:?}");
                }
            }
        }
    }

    #[test]
    fn a_gpu_gets_the_newest_image_that_it_runs() {
        assert!(images((7, 0)).is_empty());
        assert_eq!(images((8, 7)), images((8, 6)));
        assert_eq!(images((12, 1)), images((12, 0)));
        assert_ne!(images((10, 0)), images((9, 0)));
        let last = |capability| images(capability).pop().unwrap();
        assert_eq!(last((9, 0)), last((11, 0)));
        assert!(last((11, 0)).starts_with(b"//"), "PTX");
    }

    #[test]
    fn launches_cover_all_pixels_and_channels() {
        for rows in [1, 3, 4, 1000, 1 << 21] {
            for channels in [8, 16, 24, 64, 512, 1024, 4096] {
                for elements in Elements::ALL {
                    let shape = Shape::new(rows, channels, elements).unwrap();
                    for kernel in Kernel::ALL {
                        let Launch { grid, block } = shape.launch(kernel);
                        let threads = block[0] * block[1];
                        assert!(
                            threads > 0 && threads <= THREADS && grid[2] == 1,
                            "{shape:?}"
                        );
                        let across = match kernel {
                            Kernel::Statistics | Kernel::Gradients => grid[0] * block[0],
                            _ => grid[1] * block[0] * elements.at_once(),
                        };
                        assert!(
                            across as usize >= channels && grid[1] < 1 << 16,
                            "{shape:?}"
                        );
                    }
                    let sums = shape.len_of_parts(Kernel::Moments);
                    assert!(sums <= 3 * (MAX_SUMS as usize).max(channels), "{shape:?}");
                }
            }
        }
        assert_eq!(Shape::new(10, 12, Elements::F16), None);
        assert_eq!(Shape::new(0, 16, Elements::F16), None);
        assert_eq!(Shape::new(1 << 31, 16, Elements::F16), None);
    }
}
