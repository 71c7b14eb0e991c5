//! How many files the process may have open. A connection is one.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of open files to the highest that the process may choose. Most systems start programs with a low
/// number, for programs that need it so.
pub(crate) fn raise_open_max() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files stays as it is");
    }
}

/// Files that the process may have open; `None` if there is no bound.
pub(crate) fn open_max() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|files| usize::try_from(files).unwrap_or(usize::MAX))
}
