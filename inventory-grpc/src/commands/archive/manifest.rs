//! The files of an archive, and the manifest that lists them.
//!
//! The manifest is written last. If it is there, the files are complete, and a checksum proves each of them.

use std::error::Error;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::output::Output;
use crate::config::Format;

/// The name of the manifest.
const NAME: &str = "manifest.json";
/// Its name until it is complete.
const PART: &str = "manifest.json.part";
/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Which files an archive has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The entries are from before this month.
    pub(super) before: String,
    /// When the files were complete.
    pub(super) created: String,
    /// The file that lists the sites: up to which entry each is archived.
    pub(super) sites: Listed,
    /// The files of entries, one for each month.
    pub(super) months: Vec<Listed>,
}

/// A file of an archive.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Its name.
    pub(super) name: String,
    /// Its rows, without the header.
    pub(super) rows: u64,
    /// Its size.
    pub(super) bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Manifest {
    /// The manifest of a folder, once each file is what it says; `None` if there is none yet.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("--to: cannot read {}: {error}", path.display()).into()),
        };
        let manifest: Self = serde_json::from_str(&text)
            .map_err(|error| format!("--to: {} is no manifest of an archive: {error}", path.display()))?;
        for listed in manifest.months.iter().chain([&manifest.sites]) {
            if Listed::of(folder, &listed.name, listed.rows)? != *listed {
                let path = folder.join(&listed.name);
                return Err(format!(
                    "--to: {} is not the file that {NAME} lists; nothing more is removed from the database",
                    path.display()
                )
                .into());
            }
        }
        Ok(Some(manifest))
    }

    /// Writes the manifest, so that it is there whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let (part, path) = (folder.join(PART), folder.join(NAME));
        let told = |error: std::io::Error| format!("--to: cannot write {}: {error}", path.display());
        fs::write(&part, serde_json::to_string_pretty(self)?).map_err(told)?;
        sync(&part).map_err(told)?;
        fs::rename(&part, &path).map_err(told)?;
        sync(folder).map_err(told)?;
        Ok(())
    }

    /// How many entries the archive has.
    pub(super) fn entries(&self) -> u64 {
        self.months.iter().map(|listed| listed.rows).sum()
    }
}

impl Listed {
    /// Reads a file to list it.
    fn of(folder: &Path, name: &str, rows: u64) -> Result<Self, Box<dyn Error>> {
        let path = folder.join(name);
        let told = |error: std::io::Error| format!("--to: cannot read {}: {error}", path.display());
        let mut file = File::open(&path).map_err(told)?;
        let (mut hash, mut bytes, mut part) = (Sha256::new(), 0_u64, vec![0; READ_BYTES]);
        loop {
            let read = file.read(&mut part).map_err(told)?;
            if read == 0 {
                break;
            }
            hash.update(&part[..read]);
            bytes += read as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: name.to_owned(), rows, bytes, sha256 })
    }
}

/// A file of rows that is being written.
pub(super) struct Rows<'a> {
    name: String,
    output: Output<'a>,
    rows: u64,
}

impl<'a> Rows<'a> {
    pub(super) fn create(
        folder: &Path,
        name: String,
        format: Format,
        columns: &'a [&'a str],
    ) -> Result<Self, Box<dyn Error>> {
        let path = folder.join(&name);
        let file = File::create(&path).map_err(|error| format!("--to: cannot write {}: {error}", path.display()))?;
        Ok(Self { name, output: Output::over(Box::new(file), format, columns)?, rows: 0 })
    }

    pub(super) fn row(&mut self, values: &[serde_json::Value]) -> Result<(), Box<dyn Error>> {
        self.rows += 1;
        self.output.row(values)
    }

    /// Writes what is buffered, waits until it is on the disk, and reads it again for its checksum.
    pub(super) fn finish(self, folder: &Path) -> Result<Listed, Box<dyn Error>> {
        let Self { name, output, rows } = self;
        let path = folder.join(&name);
        let told = |error: std::io::Error| format!("--to: cannot write {}: {error}", path.display());
        output.finish().map_err(told)?;
        sync(&path).map_err(told)?;
        Listed::of(folder, &name, rows)
    }
}

/// Waits until a file, or the names in a folder, are on the disk.
pub(super) fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_is_found() {
        let folder = std::env::temp_dir().join(format!("archive-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).expect("the temporary folder is writable");
        assert!(Manifest::read(&folder).expect("an empty folder").is_none());
        let mut rows = Rows::create(&folder, "sites.csv".into(), Format::Csv, &["a"]).expect("writable");
        rows.row(&["x".into()]).expect("writable");
        let sites = rows.finish(&folder).expect("writable");
        assert_eq!((sites.rows, sites.bytes), (1, 4));
        let manifest = Manifest { before: "2026-01".into(), created: String::new(), sites, months: Vec::new() };
        manifest.write(&folder).expect("writable");
        assert!(Manifest::read(&folder).expect("complete").is_some());
        fs::write(folder.join("sites.csv"), "a\ny\n").expect("writable");
        let error = Manifest::read(&folder).expect_err("another content").to_string();
        assert!(error.contains("sites.csv is not the file that manifest.json lists"), "{error}");
        fs::remove_dir_all(&folder).expect("removable");
    }
}
