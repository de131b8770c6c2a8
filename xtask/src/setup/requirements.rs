//! Reads which NVIDIA packages a wheel requires from the `Requires-Dist` lines of its
//! METADATA.
//!
//! All names and versions come from there; xtask contains none. Markers about the
//! platform stay in the requirement, where pip evaluates them.

use super::LibtorchHalf;

/// The extras of `cuda-toolkit` that even the CPU library is linked against: in a wheel
/// with CUDA its profiler is built on CUPTI.
const CPU_EXTRAS: [&str; 2] = ["cupti", "cudart"];

/// One `Requires-Dist` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    name: String,
    extras: Vec<String>,
    version: String,
    marker: String,
}

/// Every requirement that a METADATA file names.
pub(crate) fn parse(metadata: &str) -> Vec<Requirement> {
    // The description follows the first empty line.
    let header = metadata.lines().take_while(|line| !line.trim().is_empty());
    header
        .filter_map(|line| line.strip_prefix("Requires-Dist:"))
        .filter_map(parse_line)
        .collect()
}

/// The meta-package for the CUDA libraries, if torch requires it.
pub(crate) fn toolkit(of_torch: &[Requirement]) -> Option<&Requirement> {
    of_torch.iter().find(|it| it.name == "cuda-toolkit")
}

/// The requirements that pip has to install for `half`, given the requirements of torch
/// and of its `cuda-toolkit`.
pub(crate) fn nvidia(
    of_torch: &[Requirement],
    of_toolkit: &[Requirement],
    half: LibtorchHalf,
) -> Vec<String> {
    let mut wanted = Vec::new();
    let extras = toolkit(of_torch)
        .map(|it| it.extras.as_slice())
        .unwrap_or_default();
    for extra in extras
        .iter()
        .filter(|it| half == LibtorchHalf::Cuda || CPU_EXTRAS.contains(&it.as_str()))
    {
        wanted.extend(of_toolkit.iter().filter_map(|it| it.for_extra(extra)));
    }
    if half == LibtorchHalf::Cuda {
        let direct = of_torch.iter().filter(|it| it.name.starts_with("nvidia-"));
        wanted.extend(
            direct
                .filter(|it| it.extra().is_none())
                .map(Requirement::to_pip),
        );
    }
    wanted
}

impl Requirement {
    /// The requirement in pip's syntax, without extras, which are resolved here.
    pub(crate) fn to_pip(&self) -> String {
        let Self {
            name,
            version,
            marker,
            ..
        } = self;
        if marker.is_empty() {
            format!("{name}{version}")
        } else {
            format!("{name}{version}; {marker}")
        }
    }

    /// The requirement if `extra` is requested, and nothing if it belongs to another
    /// extra.
    fn for_extra(&self, extra: &str) -> Option<String> {
        if self.extra()? != extra {
            return None;
        }
        // "A and extra == 'x'": pip evaluates A, and the rest is evaluated here.
        let marker = self
            .marker
            .rsplit_once(" and extra ")
            .map_or("", |(platform, _)| platform);
        Some(
            Self {
                marker: marker.trim().to_owned(),
                ..self.clone()
            }
            .to_pip(),
        )
    }

    fn extra(&self) -> Option<&str> {
        let (_, value) = self.marker.split_once("extra ==")?;
        Some(value.trim().trim_matches(['\'', '"', ')']))
    }
}

fn parse_line(line: &str) -> Option<Requirement> {
    let (requirement, marker) = line.split_once(';').unwrap_or((line, ""));
    let requirement = requirement.trim();
    let end = requirement
        .find(|it: char| !(it.is_ascii_alphanumeric() || "-_.".contains(it)))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let (extras, version) = match rest.trim().strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    Some(Requirement {
        // A package name has several spellings; this is the canonical one.
        name: name.to_ascii_lowercase().replace(['_', '.'], "-"),
        extras: extras
            .split(',')
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect(),
        version: version.trim().to_owned(),
        marker: marker.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // A selection of lines from the real files (torch 2.11.0 and cuda-toolkit 13.0.2).
    const TORCH: &str = r#"Metadata-Version: 2.1
Name: torch
Requires-Dist: filelock
Requires-Dist: cuda-toolkit[cublas,cudart,cupti,nvtx]==13.0.2; platform_system == "Linux"
Requires-Dist: nvidia-cudnn-cu13==9.19.0.56; platform_system == "Linux"
Requires-Dist: triton==3.6.0; platform_system == "Linux"
Requires-Dist: nvidia-other==1.0; extra == "other"

Requires-Dist: nvidia-in-the-description==1.0
"#;
    const TOOLKIT: &str = r"
Requires-Dist: nvidia-cublas==13.1.0.3.*; (sys_platform == 'linux' or sys_platform == 'win32') and extra == 'all'
Requires-Dist: nvidia-cublas==13.1.0.3.*; (sys_platform == 'linux' or sys_platform == 'win32') and extra == 'cublas'
Requires-Dist: nvidia-cuda-runtime==13.0.96.*; (sys_platform == 'linux' or sys_platform == 'win32') and extra == 'cudart'
Requires-Dist: nvidia-cuda-cupti==13.0.85.*; (sys_platform == 'linux') and extra == 'cupti'
Requires-Dist: nvidia-nvtx==13.0.85.*; extra == 'nvtx'
";

    fn wanted(half: LibtorchHalf) -> Vec<String> {
        nvidia(&parse(TORCH), &parse(TOOLKIT.trim_start()), half)
    }

    #[test]
    fn cpu_half_is_cupti_and_the_runtime() {
        assert_eq!(
            wanted(LibtorchHalf::Cpu),
            [
                "nvidia-cuda-runtime==13.0.96.*; (sys_platform == 'linux' or sys_platform == 'win32')",
                "nvidia-cuda-cupti==13.0.85.*; (sys_platform == 'linux')",
            ]
        );
    }

    #[test]
    fn cuda_half_is_every_nvidia_package() {
        assert_eq!(
            wanted(LibtorchHalf::Cuda),
            [
                "nvidia-cublas==13.1.0.3.*; (sys_platform == 'linux' or sys_platform == 'win32')",
                "nvidia-cuda-runtime==13.0.96.*; (sys_platform == 'linux' or sys_platform == 'win32')",
                "nvidia-cuda-cupti==13.0.85.*; (sys_platform == 'linux')",
                "nvidia-nvtx==13.0.85.*",
                "nvidia-cudnn-cu13==9.19.0.56; platform_system == \"Linux\"",
            ]
        );
    }

    #[test]
    fn the_toolkit_is_required_without_its_extras() {
        let torch = parse(TORCH);
        let toolkit = toolkit(&torch).unwrap();
        assert_eq!(toolkit.extras, ["cublas", "cudart", "cupti", "nvtx"]);
        assert_eq!(
            toolkit.to_pip(),
            "cuda-toolkit==13.0.2; platform_system == \"Linux\""
        );
    }

    #[test]
    fn a_torch_without_cuda_requires_nothing() {
        assert_eq!(
            nvidia(
                &parse("Requires-Dist: sympy>=1.13.3\n"),
                &[],
                LibtorchHalf::Cuda
            ),
            [""; 0]
        );
    }
}
