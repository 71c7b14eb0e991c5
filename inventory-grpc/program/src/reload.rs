//! Values that are read from files, and read again when the files change.
//!
//! A task compares the content of the files every second, so it does not matter how they are replaced: in place, by a
//! rename, or by a link. It reads a change after the files have been the same for a second, because a certificate and
//! its key are rarely replaced in one step. If the new files are bad, the old value stays, and the log tells the cause
//! once.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::signals::Reload;
use crate::with_causes;

/// How often the files are compared.
const EVERY: Duration = Duration::from_secs(1);

/// A value of files. Clones see the same value.
#[derive(Debug)]
pub struct Reloaded<T>(watch::Receiver<Arc<T>>);

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Reloaded<T> {
    /// A value that never changes.
    pub fn fixed(value: T) -> Self {
        Self(watch::channel(Arc::new(value)).1)
    }

    /// The value of the last good files.
    pub fn current(&self) -> Arc<T> {
        self.0.borrow().clone()
    }
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Loads the value now, and again whenever one of `files` changes or `reload` asks for it. `what` names the value
    /// in the log, such as `--tls-cert`. Returns the error of the first load.
    ///
    /// Must be called inside the runtime. The task that watches the files ends with the last clone.
    pub fn follow<E: Error + 'static>(
        what: &'static str,
        files: Vec<PathBuf>,
        reload: Reload,
        load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let before = content(&files);
        let (sender, receiver) = watch::channel(Arc::new(load()?));
        if !files.is_empty() {
            let load = move || load().map_err(|error| with_causes(&error));
            tokio::spawn(watch_files(what, files, before, reload, Arc::new(load), sender));
        }
        Ok(Self(receiver))
    }
}

/// Loads again whenever it is due. Ends when nobody holds the value.
async fn watch_files<T: Send + Sync + 'static>(
    what: &'static str,
    files: Vec<PathBuf>,
    mut tried: u64,
    mut reload: Reload,
    load: Arc<impl Fn() -> Result<T, String> + Send + Sync + 'static>,
    sender: watch::Sender<Arc<T>>,
) {
    let (files, mut last) = (Arc::new(files), tried);
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = every.tick() => false,
            () = reload.requested() => true,
            () = sender.closed() => return,
        };
        let (files, load) = (files.clone(), load.clone());
        let task = tokio::task::spawn_blocking(move || {
            let now = content(&files);
            let due = asked || now != tried && now == last;
            (now, due.then(|| load()))
        });
        // The task fails only by a panic, which is in the log already.
        let Ok((now, loaded)) = task.await else { continue };
        last = now;
        match loaded {
            Some(Ok(value)) => {
                tried = now;
                sender.send_replace(Arc::new(value));
                tracing::info!(what, "read again; in use from now on");
            }
            Some(Err(error)) => {
                tried = now;
                tracing::error!(
                    what,
                    error,
                    "cannot be read again; the old value stays in use until the files are right"
                );
            }
            None => {}
        }
    }
}

/// A number that changes with the content of the files. Files that cannot be read count as well.
fn content(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).map_err(|error| error.kind()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until<T: PartialEq + std::fmt::Debug>(value: &Reloaded<T>, expected: T) {
        let mut value = value.0.clone();
        let reached = value.wait_for(|value| **value == expected);
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("in time").expect("the task runs");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_and_a_bad_one_keeps_the_old_value() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("number");
        std::fs::write(&file, "1").expect("the file can be written");
        let (tries, mut tried) = watch::channel(0);
        let load = {
            let file = file.clone();
            move || {
                tries.send_modify(|tries| *tries += 1);
                let text = std::fs::read_to_string(&file).expect("the file can be read");
                text.parse::<u32>()
            }
        };
        let (ask, asked) = watch::channel(());
        let value = Reloaded::follow("number", vec![file.clone()], Reload(asked), load).expect("the number is good");
        assert_eq!(*value.current(), 1);
        std::fs::write(&file, "2").expect("the file can be written");
        until(&value, 2).await;
        std::fs::write(&file, "x").expect("the file can be written");
        tokio::time::timeout(Duration::from_secs(60), tried.wait_for(|tries| *tries == 3)).await.expect("in time").ok();
        assert_eq!(*value.current(), 2);
        // The same bad file is not tried again, except when a reload is requested.
        ask.send_replace(());
        tokio::time::timeout(Duration::from_secs(60), tried.wait_for(|tries| *tries == 4)).await.expect("in time").ok();
        std::fs::write(&file, "3").expect("the file can be written");
        until(&value, 3).await;
        assert_eq!(*tried.borrow(), 5);
    }
}
