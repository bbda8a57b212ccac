//! Systems that redirect clients from one service to another, such as from HTTP to HTTPS. Under `selkie run` the
//! redirect must name the host port that is forwarded to the other service.

use selkie_qemu::Forward;
use wiring::Value;

use super::Context;
use super::make::{Built, Purpose, Request, make_for};
use crate::Plan;
use crate::manifest::KeyKind;

/// Builds a system again if it redirects clients to a guest port that is forwarded from a different host port. Only the
/// image is made again.
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

/// Returns the ports to which the system redirects clients.
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

/// Replaces guest ports in redirects with the host ports that are forwarded to them.
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
        // Integers that are not ports do not change.
        let site = plan.protections.iter().find(|p| p.name == "site").unwrap();
        assert!(site.config.contains(&("hsts".into(), Value::Integer(0))));
    }
}
