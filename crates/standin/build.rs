//! Builds the stand-in as one shared library that answers to the names of all of NVIDIA's that
//! libtorch links. `runtime/` holds the functions that have to answer; every other symbol that
//! libtorch's CUDA half asks for gets a function that reports success.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, VersionTable};
use object::{Object as _, ObjectSymbol as _, SymbolIndex, elf};

/// The file that is preloaded; libtorch's RPATH would find NVIDIA's own of this name.
const LIBRARY: &str = "libcudart.so.13";

/// The libraries whose symbols are provided.
const ASKING: [&str; 5] = [
    "libc10_cuda.so",
    "libtorch_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_nvshmem.so",
    "libcaffe2_nvrtc.so",
];

/// NVIDIA's libraries that are opened by name, and not linked.
const OPENED: [&str; 2] = ["libnvidia-ml.so", "libnvidia-ml.so.1"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=runtime");
    println!("cargo:rerun-if-changed=emulated");
    println!("cargo:rerun-if-changed=../kernels/cuda/kernels.cu");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // For tests that run our kernels on a CPU, without a stand-in.
    emulation().compile("snug_emulated");
    let library = match build(&out) {
        Ok(library) => library,
        // A checkout without libtorch, or one for another system: the tests skip, with this reason.
        Err(error) => {
            println!("cargo:rustc-env=SNUG_STANDIN_MISSING={error}");
            return;
        }
    };
    println!("cargo:rustc-env=SNUG_STANDIN_LIBRARY={}", library.display());
}

fn build(out: &Path) -> Result<PathBuf> {
    let libtorch = env::var_os("LIBTORCH").ok_or("`LIBTORCH` is not set")?;
    let lib = Path::new(&libtorch).join("lib");
    if !lib.join("libtorch_cuda.so").exists() {
        return Err("this libtorch has no CUDA half".into());
    }
    if lib.join("../../nvidia/cudnn/lib").exists() {
        return Err(
            "NVIDIA's libraries are installed beside libtorch, which would find them".into(),
        );
    }
    let mut wanted = Wanted::default();
    for name in ASKING {
        wanted.add(&lib.join(name))?;
    }
    let objects = compile(out)?;
    let written = defined(&objects)?;
    let stubs = out.join("stubs.c");
    fs::write(&stubs, wanted.stubs(&written)?)?;
    let script = out.join("versions.map");
    fs::write(&script, wanted.version_script(&written)?)?;

    let folder = out.join("lib");
    let _absent = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let library = folder.join(LIBRARY);
    let mut link = compiler().get_compiler().to_command();
    link.args(["-shared", "-o"]).arg(&library);
    link.args(&objects).args(["-x", "c"]).arg(&stubs);
    link.arg(format!("-Wl,-soname,{LIBRARY}"));
    link.arg(format!("-Wl,--version-script={}", script.display()));
    if !link.status()?.success() {
        return Err("the stand-in does not link".into());
    }
    let names = wanted.libraries.iter().map(String::as_str).chain(OPENED);
    for name in names.filter(|name| *name != LIBRARY) {
        std::os::unix::fs::symlink(LIBRARY, folder.join(name))?;
    }
    Ok(library)
}

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(true).pic(true);
    build.opt_level(1).debug(false).cargo_metadata(false);
    build
}

/// Our own CUDA kernels, compiled for a CPU.
fn emulation() -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(true)
        .extra_warnings(true);
    build.warnings_into_errors(true).opt_level(2).debug(false);
    // No multiply-add but those that the source names.
    build.flag("-ffp-contract=off").flag("-fno-strict-aliasing");
    build.flag("-Wno-unknown-pragmas");
    build.include("emulated").include("../kernels/cuda");
    build.file("emulated/emulated.cpp");
    build
}

fn compile(out: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir("runtime")? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "cpp") {
            sources.push(path);
        }
    }
    sources.sort();
    let mut build = compiler();
    build.files(sources).include("emulated");
    build.warnings_into_errors(true).out_dir(out);
    let mut objects = build.try_compile_intermediates()?;
    let mut build = emulation();
    build.pic(true).cargo_metadata(false).out_dir(out);
    objects.extend(build.try_compile_intermediates()?);
    Ok(objects)
}

/// The C functions in these objects.
fn defined(objects: &[PathBuf]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in objects {
        let data = fs::read(path)?;
        let object = object::File::parse(&*data)?;
        for symbol in object.symbols() {
            let name = symbol.name()?;
            if symbol.is_definition() && symbol.is_global() && !name.starts_with("_Z") {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The symbols that libtorch's CUDA half expects of NVIDIA's libraries.
#[derive(Default)]
struct Wanted {
    libraries: BTreeSet<String>,
    /// The version of each symbol: the soname of its library, as a rule.
    versions: BTreeMap<String, Option<String>>,
}

impl Wanted {
    fn add(&mut self, path: &Path) -> Result<()> {
        let data = fs::read(path)?;
        let data = &*data;
        let elf: ElfFile64<'_> = ElfFile64::parse(data)?;
        let endian = elf.endian();
        let header = elf.elf_header();
        let sections = header.sections(endian, data)?;
        if let Some((entries, strings)) = sections.dynamic(endian, data)? {
            let strings = sections.strings(endian, data, strings)?;
            for entry in entries
                .iter()
                .filter(|it| it.d_tag(endian) == elf::DT_NEEDED)
            {
                let name = entry.string(endian, strings)?;
                let name = String::from_utf8_lossy(name).into_owned();
                if is_nvidias(&name) {
                    self.libraries.insert(name);
                }
            }
        }
        let versions: Option<VersionTable<'_, _>> = sections.versions(endian, data)?;
        let table = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
        for (index, symbol) in table.enumerate() {
            let name = String::from_utf8_lossy(table.symbol_name(endian, symbol)?).into_owned();
            let is_undefined = symbol.st_shndx.get(endian) == elf::SHN_UNDEF;
            if !is_undefined || !is_nvidias_symbol(&name) {
                continue;
            }
            let version = version(versions.as_ref(), endian, index)?;
            self.versions.insert(name, version);
        }
        Ok(())
    }

    fn stubs(&self, written: &BTreeSet<String>) -> Result<String> {
        let mut text = String::from("#include <stdlib.h>\n");
        for name in self.versions.keys().filter(|name| !written.contains(*name)) {
            // What creates a thing hands it out by its first argument.
            if name.contains("Create") {
                writeln!(
                    text,
                    "int {name}(void **out) {{ *out = calloc(1, 256); return 0; }}"
                )?;
            } else {
                writeln!(text, "int {name}(void) {{ return 0; }}")?;
            }
        }
        Ok(text)
    }

    fn version_script(&self, written: &BTreeSet<String>) -> Result<String> {
        let mut nodes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let versions = self.versions.iter();
        let of_libraries = versions.map(|(name, version)| (name, version.as_deref()));
        let others = written
            .iter()
            .filter(|name| !self.versions.contains_key(*name));
        for (name, version) in of_libraries.chain(others.map(|name| (name, None))) {
            nodes
                .entry(version.unwrap_or("SNUG_STANDIN"))
                .or_default()
                .insert(name);
        }
        let mut text = String::new();
        for (node, names) in nodes {
            let local = if node == "SNUG_STANDIN" {
                " local: *;"
            } else {
                ""
            };
            writeln!(text, "{node} {{ global:")?;
            for name in names {
                writeln!(text, "  {name};")?;
            }
            writeln!(text, "{local} }};")?;
        }
        Ok(text)
    }
}

type Endian = object::Endianness;

fn version(
    table: Option<&VersionTable<'_, elf::FileHeader64<Endian>>>,
    endian: Endian,
    index: SymbolIndex,
) -> Result<Option<String>> {
    let Some(table) = table else { return Ok(None) };
    let version = table.version(table.version_index(endian, index).into())?;
    Ok(version.map(|it| String::from_utf8_lossy(it.name()).into_owned()))
}

/// Whether a library is one of NVIDIA's.
fn is_nvidias(name: &str) -> bool {
    ["libcu", "libnccl", "libnv"]
        .iter()
        .any(|it| name.starts_with(it))
}

/// Whether a symbol is one of NVIDIA's: their C names start so.
fn is_nvidias_symbol(name: &str) -> bool {
    const STARTS: [&str; 6] = ["cu", "__cuda", "nccl", "nvrtc", "nvshmem", "nvml"];
    STARTS.iter().any(|it| name.starts_with(it))
}
