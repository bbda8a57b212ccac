//! What an audit found, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use selkie_audit::Kind;
use serde_json::{Value, json};

use super::judge::{Found, Moment};

/// Violations that are listed one by one for each moment.
const LISTED: usize = 20;

/// The result of an audit.
pub(super) struct Report {
    system: String,
    /// With the system as it is for use.
    moments: Vec<Moment>,
    /// With the control, which does not wipe.
    control: Vec<Moment>,
}

impl Report {
    pub(super) fn new(system: &str, moments: Vec<Moment>, control: Vec<Moment>) -> Self {
        Self {
            system: system.into(),
            moments,
            control,
        }
    }

    /// Whether nothing was where it must not be, and the search could have found it.
    pub(super) fn passed(&self) -> bool {
        self.violations() == 0 && self.unseen().is_empty()
    }

    fn violations(&self) -> usize {
        self.moments
            .iter()
            .map(|moment| moment.violations().count())
            .sum()
    }

    /// Kinds of secrets that the sessions had and that the control did not leave behind, or the search did not find.
    fn unseen(&self) -> Vec<Kind> {
        let seen = left(&self.control);
        self.kinds()
            .filter(|kind| !seen.contains_key(kind))
            .collect()
    }

    /// The kinds that were searched for in the control.
    fn kinds(&self) -> impl Iterator<Item = Kind> {
        let searched: BTreeSet<Kind> = self
            .control
            .iter()
            .flat_map(|moment| &moment.kinds)
            .copied()
            .collect();
        searched.into_iter()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "system": self.system,
            "passed": self.passed(),
            "sessions": sessions(&self.moments),
            "violations": self.violations(),
            "not_found_in_control": self.unseen().iter().map(|kind| kind.name()).collect::<Vec<_>>(),
            "moments": self.moments.iter().map(moment).collect::<Vec<_>>(),
            "control": {
                "sessions": sessions(&self.control),
                "found": self.kinds().map(|kind| {
                    let count = left(&self.control).get(&kind).copied().unwrap_or(0);
                    (kind.name().to_string(), json!(count))
                }).collect::<serde_json::Map<_, _>>(),
                "private_keys": private_keys(&self.control),
                "moments": self.control.iter().map(moment).collect::<Vec<_>>(),
            },
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "{}: {} sessions, looked at {} times\n\n{:<28}{:>9}{:>9}{:>10}\n",
            self.system,
            sessions(&self.moments),
            self.moments.len(),
            "moment",
            "secrets",
            "in place",
            "elsewhere"
        );
        for moment in &self.moments {
            let elsewhere = moment.violations().count();
            let in_place = moment.found.len() - elsewhere;
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(
                text,
                "{:<28}{:>9}{in_place:>9}{elsewhere:>10}",
                moment.name, moment.secrets
            );
            for line in listed(moment.violations()) {
                let _ = writeln!(text, "  {line}");
            }
        }
        let (used, left) = (counts(&self.moments, |_| true), left(&self.control));
        let _ = writeln!(
            text,
            "\n{:<38}{:>12}{:>17}",
            "kind", "in use", "left by control"
        );
        for kind in self.kinds() {
            let count = |counts: &BTreeMap<Kind, usize>| counts.get(&kind).copied().unwrap_or(0);
            let _ = writeln!(text, "{kind:<38}{:>12}{:>17}", count(&used), count(&left));
        }
        let _ = writeln!(text, "\n{}", self.verdict());
        text
    }

    fn verdict(&self) -> String {
        let unseen: Vec<&str> = self.unseen().iter().map(|kind| kind.name()).collect();
        match (self.violations(), unseen.is_empty()) {
            (0, true) => "passed: no secret was where it must not be".into(),
            (0, false) => format!(
                "failed: the search proves nothing, since in the control it did not find: {}",
                unseen.join(", ")
            ),
            (count, _) => {
                format!("failed: secrets were found {count} times where they must not be")
            }
        }
    }
}

/// How often each kind was found where it would not be if all was wiped. Private keys have a place of their own always, so for
/// them it is anywhere.
fn left(control: &[Moment]) -> BTreeMap<Kind, usize> {
    counts(control, |found| {
        !found.allowed || found.kind.is_private_key()
    })
}

/// How often each kind was found, of those findings that count.
fn counts(moments: &[Moment], count: impl Fn(&Found) -> bool) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    let all = moments.iter().flat_map(|moment| &moment.found);
    for found in all.filter(|found| count(found)) {
        *counts.entry(found.kind).or_default() += 1;
    }
    counts
}

/// The parts and forms of private keys that were found.
fn private_keys(moments: &[Moment]) -> BTreeSet<&str> {
    let found = moments.iter().flat_map(|moment| &moment.found);
    found
        .filter(|found| found.kind.is_private_key())
        .map(|found| found.name.as_str())
        .collect()
}

fn sessions(moments: &[Moment]) -> usize {
    moments
        .iter()
        .map(|moment| moment.sessions)
        .max()
        .unwrap_or(0)
}

/// One line for what lies together.
fn listed<'a>(found: impl Iterator<Item = &'a Found>) -> Vec<String> {
    let all: Vec<&Found> = found.collect();
    let mut lines: Vec<String> = all.iter().take(LISTED).map(|found| line(found)).collect();
    if all.len() > LISTED {
        lines.push(format!("and {} more", all.len() - LISTED));
    }
    lines
}

fn line(found: &Found) -> String {
    let at = found
        .address
        .map(|address| format!(" at {address:#x}"))
        .unwrap_or_default();
    let end = found.offset + found.length;
    format!(
        "{} `{}` [{}..{end}] in {}{at}",
        found.kind, found.name, found.offset, found.place
    )
}

fn moment(moment: &Moment) -> Value {
    let mut places: BTreeMap<(String, &str, bool), usize> = BTreeMap::new();
    for found in &moment.found {
        let key = (found.place.to_string(), found.kind.name(), found.allowed);
        *places.entry(key).or_default() += 1;
    }
    json!({
        "moment": moment.name,
        "sessions": moment.sessions,
        "secrets": moment.secrets,
        "places": places.iter().map(|((place, kind, allowed), count)| json!({
            "place": place, "kind": kind, "allowed": allowed, "count": count,
        })).collect::<Vec<_>>(),
        "violations": moment.violations().map(|found| json!({
            "kind": found.kind.name(),
            "secret": found.name,
            "offset": found.offset,
            "length": found.length,
            "order": format!("{:?}", found.order),
            "address": found.address,
            "owners": found.place.owners,
            "region": found.place.region,
            "symbol": found.place.symbol,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use selkie_audit::{Order, Place};

    fn found(kind: Kind, owner: &str, allowed: bool) -> Found {
        Found {
            kind,
            name: "client key".into(),
            offset: 4,
            length: 16,
            order: Order::Forward,
            address: Some(0x12_3450),
            place: Place {
                owners: [owner.to_string()].into(),
                region: format!("{owner}.heap"),
                symbol: None,
            },
            allowed,
        }
    }

    fn moment(kinds: &[Kind], found: Vec<Found>) -> Moment {
        Moment {
            name: "after 6 sessions".into(),
            sessions: 6,
            secrets: 100,
            kinds: kinds.iter().copied().collect(),
            found,
        }
    }

    #[test]
    fn a_clean_system_and_a_control_that_finds_pass() {
        let kinds = [Kind::AeadKey];
        let control = moment(&kinds, vec![found(Kind::AeadKey, "tls", false)]);
        let clean = moment(&kinds, vec![found(Kind::AeadKey, "tls", true)]);
        let report = Report::new("https", vec![clean], vec![control]);
        assert!(report.passed());
        assert!(
            report
                .to_text()
                .ends_with("passed: no secret was where it must not be\n")
        );
        assert_eq!(report.to_json()["control"]["found"]["AEAD key"], 1);
    }

    #[test]
    fn a_hit_is_named_and_fails() {
        let kinds = [Kind::AeadKey];
        let control = moment(&kinds, vec![found(Kind::AeadKey, "tls", false)]);
        let dirty = moment(&kinds, vec![found(Kind::AeadKey, "tcpip", false)]);
        let report = Report::new("https", vec![dirty], vec![control]);
        assert!(!report.passed());
        let line = "AEAD key `client key` [4..20] in tcpip: tcpip.heap at 0x123450";
        assert!(report.to_text().contains(line), "{}", report.to_text());
        assert_eq!(
            report.to_json()["moments"][0]["violations"][0]["region"],
            "tcpip.heap"
        );
    }

    /// A search that finds nothing where it should is no proof.
    #[test]
    fn a_control_without_hits_fails() {
        let kinds = [Kind::AeadKey, Kind::Iv];
        let control = moment(&kinds, vec![found(Kind::AeadKey, "tls", false)]);
        let report = Report::new("https", vec![moment(&kinds, Vec::new())], vec![control]);
        assert!(!report.passed());
        assert!(report.to_text().contains("did not find: IV"));
        assert_eq!(report.to_json()["not_found_in_control"][0], "IV");
    }

    #[test]
    fn a_control_that_leaves_nothing_fails() {
        let kinds = [Kind::AeadKey, Kind::PrivateKey];
        let used = kinds.map(|kind| found(kind, "vault", true)).to_vec();
        let report = Report::new("https", Vec::new(), vec![moment(&kinds, used)]);
        assert_eq!(report.unseen(), [Kind::AeadKey]);
    }
}
