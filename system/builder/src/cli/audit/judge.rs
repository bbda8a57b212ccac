//! Whether a secret may be where it was found.

use std::collections::BTreeSet;

use selkie_audit::{Finding, Kind, Layout, Place, Secret, Snapshot};

/// Judges what is found.
pub(super) struct Judge {
    /// What is where.
    pub layout: Layout,
    /// Who may hold what.
    pub holders: Holders,
    /// A protection domain that holds secrets of sessions and whose faults its parent handles.
    pub watched: Option<String>,
}

/// Who may hold what, by the names of protection domains.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Those that hold private keys.
    pub keys: BTreeSet<String>,
    /// Those that hold the secrets of sessions.
    pub sessions: BTreeSet<String>,
    /// The services, which hold what the sessions carry.
    pub services: BTreeSet<String>,
}

/// Whether sessions are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Their secrets may be where they are used.
    During,
    /// Their secrets must be nowhere.
    After,
    /// Nor must the keys that their tickets were sealed with.
    Gone,
}

/// What one look at the memory gave.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When it was.
    pub name: String,
    /// How many sessions' secrets were searched for.
    pub sessions: usize,
    /// How many secrets were searched for.
    pub secrets: usize,
    /// Of what kinds they are.
    pub kinds: BTreeSet<Kind>,
    /// What was found.
    pub found: Vec<Found>,
}

/// A part of a secret that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub kind: Kind,
    /// Which secret.
    pub name: String,
    /// Which byte of the secret is the first, and how many.
    pub offset: usize,
    pub length: usize,
    pub order: selkie_audit::Order,
    /// The physical address; `None` in a register.
    pub address: Option<u64>,
    pub place: Place,
    /// Whether it may be there then.
    pub allowed: bool,
}

impl Judge {
    /// Searches a snapshot for secrets of sessions and for private keys.
    pub(super) fn look(
        &self,
        name: impl Into<String>,
        snapshot: &Snapshot,
        phase: Phase,
        sessions: usize,
        secrets: &[Secret],
    ) -> anyhow::Result<Moment> {
        let found = snapshot.search(&self.layout, secrets)?;
        Ok(Moment {
            name: name.into(),
            sessions,
            secrets: secrets.len(),
            kinds: secrets.iter().map(|secret| secret.kind).collect(),
            found: found
                .iter()
                .map(|finding| self.found(finding, phase))
                .collect(),
        })
    }

    fn found(&self, finding: &Finding<'_>, phase: Phase) -> Found {
        Found {
            kind: finding.kind(),
            name: finding.secret.name.clone(),
            offset: finding.offset,
            length: finding.length,
            order: finding.order,
            address: finding.address,
            allowed: self
                .holders
                .allows(finding.kind(), &finding.place.owners, phase),
            place: finding.place.clone(),
        }
    }
}

impl Holders {
    /// A place belongs to whoever can reach it. What several can reach, or nobody, is no place for a secret.
    fn allows(&self, kind: Kind, owners: &BTreeSet<String>, phase: Phase) -> bool {
        let alone = |holders| owners.len() == 1 && owners.is_subset(holders);
        match phase {
            _ if kind.is_private_key() => alone(&self.keys),
            Phase::During | Phase::After if kind == Kind::TicketKey => alone(&self.sessions),
            Phase::After | Phase::Gone => false,
            // It goes from the one to the other through memory that both can reach.
            Phase::During if kind.is_plaintext() => {
                let all = self.sessions.union(&self.services);
                !owners.is_empty() && owners.is_subset(&all.cloned().collect())
            }
            Phase::During => alone(&self.sessions),
        }
    }
}

impl Moment {
    /// What is where it must not be.
    pub(super) fn violations(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| !found.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn secrets_belong_to_their_holders_alone() {
        let holders = Holders {
            keys: names(&["vault"]),
            sessions: names(&["tls"]),
            services: names(&["site"]),
        };
        let allowed = |kind, owners: &[&str], phase| holders.allows(kind, &names(owners), phase);
        assert!(allowed(Kind::AeadKey, &["tls"], Phase::During));
        assert!(!allowed(Kind::AeadKey, &["tls"], Phase::After));
        assert!(!allowed(Kind::AeadKey, &["vault"], Phase::During));
        assert!(!allowed(Kind::AeadKey, &["tcpip", "tls"], Phase::During));
        assert!(!allowed(Kind::AeadKey, &[], Phase::During));
        assert!(allowed(Kind::PrivateKey, &["vault"], Phase::After));
        assert!(!allowed(Kind::PrivateKeyForm, &["tls"], Phase::During));
        assert!(allowed(Kind::TicketKey, &["tls"], Phase::After));
        assert!(!allowed(Kind::TicketKey, &["entropy"], Phase::After));
        assert!(!allowed(Kind::TicketKey, &["tls"], Phase::Gone));
    }

    #[test]
    fn plaintext_may_be_with_the_service_and_on_its_way_there() {
        let holders = Holders {
            sessions: names(&["tls"]),
            services: names(&["site"]),
            ..Holders::default()
        };
        let allowed = |owners: &[&str]| {
            let during = holders.allows(Kind::Request, &names(owners), Phase::During);
            assert!(!holders.allows(Kind::Request, &names(owners), Phase::After));
            during
        };
        assert!(allowed(&["tls"]) && allowed(&["site"]) && allowed(&["site", "tls"]));
        assert!(!allowed(&["tcpip", "tls"]) && !allowed(&["console"]) && !allowed(&[]));
    }
}
