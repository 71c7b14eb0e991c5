//! Compares what shoppers know with a ledger: every answered order is there once, and no order twice.

use inventory_core::store::DatabaseUrl;
use uuid::Uuid;

use super::record::Known;
use super::{Shop, Shoppers};
use crate::books;

/// Changes that one query reads.
const PAGE: usize = 20_000;

/// Reads the ledger of a run again and again: only what is new, or all of it.
#[derive(Default)]
pub struct Audit {
    /// How often each order was found.
    found: Vec<u8>,
    /// Orders that nobody sent.
    strange: Vec<String>,
    sites: Vec<Read>,
}

/// What was read of a site.
#[derive(Clone, Copy, Default)]
struct Read {
    /// The first sequence number of the last change that was read.
    last: i64,
    /// How many changes of orders there are up to that one.
    changes: i64,
}

/// What is wrong with a ledger.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Orders that were answered with 200 and are not in the ledger.
    pub lost: Vec<Uuid>,
    /// Orders that are in the ledger more than once.
    pub doubled: Vec<Uuid>,
    /// Orders in the ledger that nobody sent, and answers that no order may get.
    pub strange: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Audit {
    /// Reads what is new in a ledger, which is cheap. If that does not fit with what was read before, and before
    /// anything is found wrong, it reads all: after a failover, changes that were not answered may be gone, and others
    /// may have their numbers.
    pub fn of_new(&mut self, shoppers: &Shoppers, ledger: &DatabaseUrl) -> Findings {
        let shop = &shoppers.shop;
        let fits = |(site, read): (&String, &Read)| {
            let sql = format!("SELECT count(*) AS wrong {} AND first_sequence <= {}", changes(site), read.last);
            books::count(ledger, &sql) == read.changes
        };
        if self.sites.len() == shop.sites.len() && shop.sites.iter().zip(&self.sites).all(fits) {
            let findings = self.read(shop, ledger);
            if findings.is_empty() {
                return findings;
            }
        }
        self.of_all(shoppers, ledger)
    }

    /// Reads the whole ledger.
    pub fn of_all(&mut self, shoppers: &Shoppers, ledger: &DatabaseUrl) -> Findings {
        *self = Self { sites: vec![Read::default(); shoppers.shop.sites.len()], ..Self::default() };
        let mut findings = self.read(&shoppers.shop, ledger);
        // One statement, so that orders that come meanwhile do not matter. Each order takes two pieces.
        let sql = "SELECT (SELECT -2 * count(*) FROM change WHERE order_id IS NOT NULL) - \
                   (SELECT coalesce(sum(delta), 0)::bigint FROM ledger WHERE delta < 0) AS wrong";
        let more = books::count(ledger, sql);
        if more != 0 {
            findings.strange.push(format!("orders took {more} pieces more than they ask for"));
        }
        findings
    }

    fn read(&mut self, shop: &Shop, ledger: &DatabaseUrl) -> Findings {
        // What is answered later need not be in what is read now.
        let orders = shop.record().orders.clone();
        for (index, site) in shop.sites.iter().enumerate() {
            while self.read_page(shop, ledger, index, site) == PAGE {}
        }
        self.found.resize(self.found.len().max(orders.len()), 0);
        let mut findings = compare(&orders, &self.found, |number| Uuid::from_u64_pair(shop.run, number as u64));
        findings.strange = [self.strange.clone(), shop.record().wrong.clone()].concat();
        findings
    }

    /// Returns how many changes it read.
    fn read_page(&mut self, shop: &Shop, ledger: &DatabaseUrl, index: usize, site: &str) -> usize {
        let read = &mut self.sites[index];
        let sql = format!(
            "SELECT first_sequence || ' ' || order_id AS line {} AND first_sequence > {} ORDER BY first_sequence \
             LIMIT {PAGE}",
            changes(site),
            read.last
        );
        let lines = books::lines(ledger, &sql);
        for line in &lines {
            let (sequence, id) = line.split_once(' ').expect("the line has two parts");
            read.last = sequence.parse().expect("a sequence number is a number");
            read.changes += 1;
            match shop.number(id.parse().expect("an order id is a GUID")) {
                Some(number) => {
                    self.found.resize(self.found.len().max(number + 1), 0);
                    self.found[number] = self.found[number].saturating_add(1);
                }
                None => self.strange.push(format!("nobody sent the order {id}")),
            }
        }
        lines.len()
    }
}

/// The changes of a site's orders.
fn changes(site: &str) -> String {
    format!("FROM change WHERE site_id = '{site}' AND order_id IS NOT NULL")
}

/// What is known of each order, beside how often it was found.
fn compare(orders: &[Known], found: &[u8], id: impl Fn(usize) -> Uuid) -> Findings {
    let mut findings = Findings::default();
    for (number, (known, times)) in orders.iter().zip(found).enumerate() {
        match (known, times) {
            (Known::Answered, 0) => findings.lost.push(id(number)),
            (Known::Sent, 0) | (_, 1) => {}
            (_, _) => findings.doubled.push(id(number)),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_and_a_doubled_order_are_found() {
        let id = |number: usize| Uuid::from_u64_pair(7, number as u64);
        let orders = [Known::Answered, Known::Answered, Known::Sent, Known::Sent, Known::Sent, Known::Answered];
        let findings = compare(&orders, &[1, 0, 0, 1, 2, 3], id);
        let expected = Findings { lost: vec![id(1)], doubled: vec![id(4), id(5)], strange: Vec::new() };
        assert_eq!(findings, expected);
        assert!(compare(&orders[..4], &[1, 1, 0, 1], id).is_empty());
    }
}
