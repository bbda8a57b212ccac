//! Systems that lead their clients from one service to another, such as from HTTP to HTTPS, under `selkie run`: clients
//! reach the other service at a port of this machine.

use selkie_qemu::Forward;
use wiring::Value;

use super::Context;
use super::make::{Built, Purpose, Request, make_for};
use crate::Plan;
use crate::manifest::KeyKind;

/// Builds a system anew, if it leads clients to a port that they reach at another one of this machine. Only the image
/// changes, so it takes no longer than putting that together.
///
/// # Errors
/// As [`make`](super::make::make).
pub(super) fn as_forwarded(
    context: &Context,
    request: &Request,
    built: Built,
    forwards: &[Forward],
) -> anyhow::Result<Built> {
    let is_led = |forward: &Forward| {
        forward.host != forward.guest && built.leads_to.contains(&forward.guest)
    };
    if !forwards.iter().any(is_led) {
        return Ok(built);
    }
    let anew = make_for(&context.root, request, &|_| (), Purpose::Use, forwards)?;
    Ok(Built {
        endpoints: built.endpoints,
        ..anew
    })
}

/// The ports that clients are led to.
pub(super) fn ports(plan: &Plan) -> Vec<u16> {
    let all = plan.protections.iter().flat_map(|protection| {
        let of = |key: &str| kind(&protection.program.config, key);
        let ports = protection
            .config
            .iter()
            .filter(move |(key, _)| of(key) == Some(&KeyKind::Port));
        ports.filter_map(|(_, value)| match value {
            Value::Integer(port) => u16::try_from(*port).ok(),
            _ => None,
        })
    });
    all.collect()
}

/// Leads clients to the ports of this machine in place of the guest's.
pub(super) fn lead(plan: &mut Plan, forwards: &[Forward]) {
    for protection in &mut plan.protections {
        for (key, value) in &mut protection.config {
            if kind(&protection.program.config, key) != Some(&KeyKind::Port) {
                continue;
            }
            let Value::Integer(port) = value else {
                continue;
            };
            let mut found = forwards.iter();
            if let Some(forward) = found.find(|forward| i64::from(forward.guest) == *port) {
                *port = forward.host.into();
            }
        }
    }
}

fn kind<'k>(keys: &'k [crate::manifest::Key], name: &str) -> Option<&'k KeyKind> {
    let found = keys.iter().find(|key| key.name == name);
    found.map(|key| &key.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::root;

    #[test]
    fn https_is_led_to_at_the_port_of_this_machine() {
        let root = root();
        let mut plan = crate::plan(&root, &root.join("system/https.toml"), "pc99")
            .unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(ports(&plan), [443]);
        let forward = |host, guest| Forward { host, guest };
        lead(
            &mut plan,
            &[forward(8080, 80), forward(9443, 443), forward(1, 9443)],
        );
        assert_eq!(ports(&plan), [9443]);
        // Numbers that are no ports stay.
        let site = plan.protections.iter().find(|p| p.name == "site").unwrap();
        assert!(site.config.contains(&("hsts".into(), Value::Integer(0))));
    }
}
