//! Attacks that other files test, each with the memory that a program may have meanwhile.

use inventory_tests::programs::Running;

/// A row of the guide's second table.
pub(crate) struct Other {
    sends: &'static str,
    megabytes: u32,
    file: &'static str,
}

impl Other {
    /// Panics if the program has had more memory than the row says, since its start or since its peak was forgotten.
    pub(crate) fn bounds(&self, program: &Running) {
        let most = program.peak_megabytes();
        println!("{}: at most {most:.0} MB", self.sends);
        assert!(most <= f64::from(self.megabytes), "{}: {most:.0} MB", self.sends);
    }
}

macro_rules! others {
    ($($name:ident $sends:literal takes $megabytes:literal, tested by $file:literal;)+) => {
        $(pub(crate) const $name: Other = Other { sends: $sends, megabytes: $megabytes, file: $file };)+
        const TABLE: &[Other] = &[$($name),+];
    };
}

others! {
    UPLOADS "300 unfinished uploads of 4 MB, to any path" takes 250, tested by "uploads.rs";
    UNREAD_ANSWERS "answers that nobody reads" takes 300, tested by "greedy.rs";
    HALF_MESSAGES "half messages of 4 MB" takes 400, tested by "greedy.rs";
    STREAMS_OF_CALLS "400 calls of 3.5 MB on 20 streams while the database hangs, with long and short deadlines; \
        callers who take no answers" takes 350, tested by "stream_memory.rs";
    FLOODING_SITE "a site that floods the adapter with orders of 300 items or of 500 kB, or with callers who leave at \
        once: other sites are answered" takes 250, tested by "floods.rs";
    UNREAD_VERIFICATIONS "200 verifications whose callers do not read: 4 run, the others are refused, and their places \
        are free after 30 s" takes 300, tested by "greedy/streams.rs";
    UNREAD_WATCHES "1,000 watchers that do not read: their connections are closed after 30 s, and others get every \
        entry meanwhile" takes 300, tested by "greedy/streams.rs";
    BURSTS "bursts of deadlines, or of 6,000 calls: the connection ends with GOAWAY for nobody"
        takes 150, tested by "greedy.rs";
    FULL_PORT "more connections than the port holds, or than there are files" takes 100, tested by "full_port.rs";
    HALF_SENT "2,000 connections that stop in a head or a handshake, over TLS too: they are gone after seconds"
        takes 200, tested by "limits.rs";
    HELD_STOPS "callers that hold up a stop" takes 150, tested by "stopping.rs";
    WATCHERS "a thousand watchers, who leave and come eight times" takes 250, tested by "follow.rs";
    HUNG_READS "20 reads that hang until their deadline, while orders and other reads go on"
        takes 150, tested by "reads.rs";
}

/// The table as the guide shows it.
pub(super) fn table() -> String {
    let mut table = "| attack | MB of the program, at most | test |\n| --- | --- | --- |\n".to_owned();
    for Other { sends, megabytes, file } in TABLE {
        table.push_str(&format!("| {sends} | {megabytes} | `tests/it/{file}` |\n"));
    }
    table
}
