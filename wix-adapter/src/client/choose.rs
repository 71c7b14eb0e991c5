//! Which server gets a call.
//!
//! All orders of a site go to one server, as long as it serves. A server decides the orders of a site together, in one
//! commit, from levels that it remembers. Two servers that write the same site wait for each other's commits, and
//! each has to read again what the other one wrote. So a second server makes a single site no faster, and many sites
//! twice as fast.
//!
//! The server of a site is the one with the greatest weight, and the weight depends on the name of the server and on
//! the site alone (rendezvous hashing). So adapters agree without talking to each other, in whatever order they were
//! given the servers; and when a server leaves, only its own sites move, to all others in equal parts.

/// A server, as far as the choice is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The [`hash`] of its name.
    pub(super) name: u64,
    /// Whether it serves, as far as is known.
    pub(super) serves: bool,
}

/// The server for a call of the site with this [`hash`], among those that are not in `tried`. One that serves comes
/// before any that does not. `None` if all are in `tried`.
pub(super) fn choose(site: u64, servers: impl IntoIterator<Item = Candidate>, tried: &[usize]) -> Option<usize> {
    let untried = servers.into_iter().enumerate().filter(|(index, _)| !tried.contains(index));
    untried.max_by_key(|(_, server)| (server.serves, mix(server.name ^ site))).map(|(index, _)| index)
}

/// A number for the name of a server, or for a site. It is the same in every program on every machine (FNV-1a). Case
/// does not matter.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Spreads numbers that differ in few bits over the whole range (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["a:1", "b:1", "c:1", "d:1"];

    /// The choice for a site among the first servers of `NAMES`: `+` for one that serves, `-` for one that does not.
    fn chosen(site: &str, states: &str, tried: &[usize]) -> Option<usize> {
        let candidates = NAMES.iter().zip(states.chars());
        choose(hash(site), candidates.map(|(name, state)| Candidate { name: hash(name), serves: state == '+' }), tried)
    }

    #[test]
    fn a_call_goes_to_a_server_that_serves_and_has_not_failed_it() {
        // The states of the servers, those that have failed the call, and those that may get it.
        let rows: [(&str, &[usize], &[usize]); 12] = [
            ("", &[], &[]),
            ("+", &[], &[0]),
            ("-", &[], &[0]),
            ("+", &[0], &[]),
            ("++", &[], &[0, 1]),
            ("-+", &[], &[1]),
            ("+-", &[0], &[1]),
            ("++", &[1], &[0]),
            ("--", &[], &[0, 1]),
            ("++++", &[0, 2], &[1, 3]),
            ("+-+-", &[2], &[0]),
            ("++", &[0, 1], &[]),
        ];
        for (states, tried, expected) in rows {
            let mut found: Vec<usize> =
                (0..200).filter_map(|site| chosen(&format!("site {site}"), states, tried)).collect();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{states} {tried:?}");
        }
    }

    #[test]
    fn sites_are_spread_evenly_and_stay_where_they_are() {
        let sites: Vec<String> = (0..4_000).map(|site| format!("5eed0000-0000-4000-8000-{site:012x}")).collect();
        let mut counts = [0_u32; 4];
        let mut moved = [0_u32; 4];
        for site in &sites {
            let home = chosen(site, "++++", &[]).expect("there are servers");
            counts[home] += 1;
            assert_eq!(chosen(&site.to_uppercase(), "++++", &[]), Some(home), "the case of a GUID does not matter");
            let reversed = NAMES.iter().rev().map(|name| Candidate { name: hash(name), serves: true });
            assert_eq!(choose(hash(site), reversed, &[]), Some(3 - home), "the order of the servers does not matter");
            // The second server leaves. Only its own sites move.
            let then = chosen(site, "+-++", &[]).expect("there are servers");
            assert!(then == home || home == 1, "{site} moved from {home} to {then}");
            moved[then] += u32::from(home == 1);
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert!(moved[1] == 0 && [0, 2, 3].iter().all(|to| (250..420).contains(&moved[*to])), "{moved:?}");
    }
}
