//! A new file that appears under its name only when it is whole. Until then it is `NAME.part`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written. If it is dropped before it is published, it is removed. What a killed process leaves,
/// the next one with the same name takes.
pub(super) struct Part {
    name: PathBuf,
    part: PathBuf,
    /// Locked, so that two processes do not write the same file.
    file: File,
}

impl Part {
    /// Begins a file that does not exist. Only its owner can read it.
    pub(super) fn create(name: &Path) -> Result<Self> {
        let name = std::path::absolute(name)?;
        if name.symlink_metadata().is_ok() {
            return Err(exists(&name));
        }
        let mut part = name.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let told = |error: Error| Error::new(error.kind(), format!("{}: {error}", part.display()));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&part);
        let file = opened.map_err(told)?;
        match file.try_lock() {
            Ok(()) => file.set_len(0).map_err(told)?,
            Err(TryLockError::WouldBlock) => {
                let text = format!("{}: another backup is writing this file", part.display());
                return Err(Error::new(ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::Error(error)) => return Err(told(error)),
        }
        Ok(Self { name, part, file })
    }

    /// Where to write.
    pub(super) fn path(&self) -> &Path {
        &self.part
    }

    /// Makes the content durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_all()
    }

    /// Gives the file its name, durably. Fails if another file got this name in the meantime.
    pub(super) fn publish(self) -> Result<()> {
        self.sync()?;
        // A second name, and not a new one: that would take the place of another file.
        match std::fs::hard_link(&self.part, &self.name) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(&self.name)),
            // Some file systems have no second names.
            Err(_) if self.name.symlink_metadata().is_err() => std::fs::rename(&self.part, &self.name)?,
            Err(error) => return Err(error),
        }
        let folder = self.name.parent().map(Path::to_owned);
        // Removes the first name.
        drop(self);
        match folder {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn exists(name: &Path) -> Error {
    let text = format!("{}: exists; a backup never overwrites a file, so name a new one", name.display());
    Error::new(ErrorKind::AlreadyExists, text)
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is none.
        let _ = std::fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("inventory-part-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir(&folder).expect("the temporary folder is writable");
            Self(folder)
        }

        fn names(&self) -> Vec<String> {
            let names = std::fs::read_dir(&self.0).expect("the folder exists").flatten();
            let mut names: Vec<String> = names.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_appears_when_it_is_whole() {
        let folder = Folder::new();
        let part = Part::create(&folder.0.join("a")).expect("it is new");
        std::fs::write(part.path(), "whole").expect("it is writable");
        assert_eq!(folder.names(), ["a.part"]);
        let second = Part::create(&folder.0.join("a")).map(drop).expect_err("the first one is being written");
        assert!(second.to_string().contains("another backup is writing"), "{second}");
        assert_eq!(folder.names(), ["a.part"], "the second one removed nothing");
        part.publish().expect("nobody took the name");
        assert_eq!(folder.names(), ["a"]);
        assert_eq!(std::fs::read_to_string(folder.0.join("a")).expect("it is there"), "whole");
    }

    #[test]
    fn a_file_that_is_not_finished_goes_and_what_a_killed_process_left_is_taken() {
        let folder = Folder::new();
        drop(Part::create(&folder.0.join("a")).expect("it is new"));
        assert_eq!(folder.names(), [""; 0]);
        std::fs::write(folder.0.join("a.part"), "half").expect("the folder is writable");
        let part = Part::create(&folder.0.join("a")).expect("nobody writes it");
        assert_eq!(std::fs::read(part.path()).expect("it is there"), b"", "nothing of it is left");
    }

    #[test]
    fn no_file_is_overwritten() {
        let folder = Folder::new();
        let name = folder.0.join("a");
        let part = Part::create(&name).expect("it is new");
        std::fs::write(&name, "other").expect("the folder is writable");
        for error in [part.publish(), Part::create(&name).map(drop)] {
            let error = error.expect_err("the name is taken").to_string();
            assert!(error.contains("a: exists; a backup never overwrites a file"), "{error}");
        }
        assert_eq!(folder.names(), ["a"]);
        assert_eq!(std::fs::read_to_string(&name).expect("it is there"), "other");
    }
}
