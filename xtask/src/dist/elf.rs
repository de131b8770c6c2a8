//! What a program requires of the system that it runs on: symbol versions of glibc and libstdc++,
//! and folders to search.

use std::fmt;
use std::fs;

use object::Endianness;
use object::elf::{DT_RPATH, DT_RUNPATH, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _};

use crate::error::Error;
use crate::files::unreadable;

use super::build::Program;

/// The newest versions that are required.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    glibc: Option<Version>,
    glibcxx: Option<Version>,
}

/// A version such as 3.4.30, which is newer than 3.4.9.
type Version = Vec<u32>;

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("GLIBC", &self.glibc), ("GLIBCXX", &self.glibcxx)];
        let words: Vec<String> = named
            .into_iter()
            .filter_map(|(name, version)| Some(format!("{name}_{}", dotted(version.as_ref()?))))
            .collect();
        f.write_str(&words.join(", "))
    }
}

impl Needs {
    /// The tag of a wheel for systems that meet them: `manylinux_2_34`. It names glibc alone, so a libstdc++ counts as the glibc
    /// of the distributions that have it.
    pub(crate) fn manylinux(&self) -> String {
        // The third number of GLIBCXX, and the least glibc beside it: those of the manylinux policies, then Ubuntu 22.04
        // and 24.04, then GCC 15, which no release with an older glibc has.
        const BESIDE: [(u32, u32); 6] = [
            (19, 17),
            (28, 31),
            (29, 34),
            (30, 35),
            (33, 39),
            (u32::MAX, 42),
        ];
        let minor = |version: &Option<Version>, place: usize| {
            let number = version.as_ref().and_then(|it| it.get(place));
            number.copied().unwrap_or_default()
        };
        let glibcxx = minor(&self.glibcxx, 2);
        let of_glibcxx = BESIDE.iter().find(|(newest, _)| glibcxx <= *newest);
        let glibc = of_glibcxx.map_or(0, |(_, glibc)| *glibc);
        format!("manylinux_2_{}", glibc.max(minor(&self.glibc, 1)))
    }

    fn add(&mut self, symbol_version: &str) {
        for (prefix, newest) in [("GLIBC_", &mut self.glibc), ("GLIBCXX_", &mut self.glibcxx)] {
            let version = symbol_version.strip_prefix(prefix).and_then(parse);
            // `None` is less than any version.
            if version > *newest {
                *newest = version;
            }
        }
    }
}

/// The combined requirements of all `programs`.
///
/// # Errors
/// [`Error::Rpath`] for a program that names folders to search, since they are on this machine.
pub(crate) fn needs_of(programs: &[Program]) -> Result<Needs, Error> {
    let mut needs = Needs::default();
    for Program { path, .. } in programs {
        let data = fs::read(path).map_err(|it| unreadable(path, it))?;
        let found = read(&data, &mut needs).map_err(|source| Error::NoProgram {
            path: path.clone(),
            source,
        })?;
        if let Some(found) = found {
            let path = path.clone();
            return Err(Error::Rpath { path, found });
        }
    }
    Ok(needs)
}

/// Adds to `needs`, and returns the rpath, if any.
fn read(data: &[u8], needs: &mut Needs) -> object::Result<Option<String>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    if let Some((mut libraries, strings)) = sections.gnu_verneed(endian, data)? {
        let strings = sections.strings(endian, data, strings)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                needs.add(&String::from_utf8_lossy(version.name(endian, strings)?));
            }
        }
    }
    let Some((entries, strings)) = sections.dynamic(endian, data)? else {
        return Ok(None);
    };
    let strings = sections.strings(endian, data, strings)?;
    for entry in entries {
        let tag = entry.d_tag(endian);
        if [DT_RPATH, DT_RUNPATH].contains(&tag) {
            let folders = entry.string(endian, strings)?;
            return Ok(Some(String::from_utf8_lossy(folders).into_owned()));
        }
    }
    Ok(None)
}

/// `GLIBC_PRIVATE` is not a version.
fn parse(version: &str) -> Option<Version> {
    version.split('.').map(|it| it.parse().ok()).collect()
}

fn dotted(version: &[u32]) -> String {
    let numbers: Vec<String> = version.iter().map(u32::to_string).collect();
    numbers.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_is_kept() {
        let mut needs = Needs::default();
        for version in [
            "GLIBC_2.34",
            "GLIBC_2.4",
            "GLIBC_2.2.5",
            "GLIBC_PRIVATE",
            "GLIBCXX_3.4.9",
            "GLIBCXX_3.4.30",
            "GLIBCXX_3.4",
            "CXXABI_1.3.13",
            "GCC_3.0",
        ] {
            needs.add(version);
        }
        assert_eq!(needs.to_string(), "GLIBC_2.34, GLIBCXX_3.4.30");
        assert_eq!(Needs::default().to_string(), "");
    }

    #[test]
    fn a_tag_is_for_systems_that_have_both_libraries() {
        for (versions, tag) in [
            (&[][..], "manylinux_2_17"),
            (&["GLIBC_2.34"], "manylinux_2_34"),
            (&["GLIBC_2.28", "GLIBCXX_3.4.29"], "manylinux_2_34"),
            (&["GLIBC_2.34", "GLIBCXX_3.4.30"], "manylinux_2_35"),
            (&["GLIBC_2.36", "GLIBCXX_3.4.30"], "manylinux_2_36"),
            (&["GLIBC_2.34", "GLIBCXX_3.4.32"], "manylinux_2_39"),
            (&["GLIBC_2.38", "GLIBCXX_3.4.33"], "manylinux_2_39"),
            (&["GLIBC_2.34", "GLIBCXX_3.4.34"], "manylinux_2_42"),
        ] {
            let mut needs = Needs::default();
            for version in versions {
                needs.add(version);
            }
            assert_eq!(needs.manylinux(), tag, "{versions:?}");
        }
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_env = "gnu"))]
    #[test]
    fn this_test_program_is_read() {
        let path = std::env::current_exe().unwrap();
        let needs = needs_of(&[Program { name: "own", path }]).unwrap();
        assert!(
            needs.glibc.unwrap() >= vec![2, 2],
            "of every 64-bit program"
        );
        assert_eq!(needs.glibcxx, None);
    }

    #[test]
    fn an_invalid_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let expected = format!("`{}` is not a valid program", path.display());
        let error = needs_of(&[Program {
            name: "train",
            path,
        }])
        .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
