//! A protection that holds private keys shares no memory.

use super::{Plan, Planner};
use crate::diagnostics::Problem;
use crate::flow::Roles;

impl Planner<'_> {
    /// Checks that no connection makes a keeper of private keys write memory that another protection maps: then there is
    /// no way for a key to leave it but in message registers. Its log is excepted.
    pub(super) fn check_flow(&mut self, plan: &Plan) {
        let roles = Roles::of(plan);
        for connection in &plan.connections {
            let (provider, consumer) = (
                &plan.protections[connection.provider].name,
                &plan.protections[connection.consumer].name,
            );
            let (keeper, other, written) = if roles.keepers.contains(provider) {
                (provider, consumer, connection.sizes.provider)
            } else if roles.keepers.contains(consumer) {
                (consumer, provider, connection.sizes.consumer)
            } else {
                continue;
            };
            let interface = connection.interface.name;
            if interface == "log" || written + connection.sizes.pool == 0 {
                continue;
            }
            let message =
                format!("`{keeper}` holds private keys and would share memory with `{other}`");
            let problem = Problem::at(self.source, connection.span.clone(), message);
            self.problems.push(
                problem
                    .label(format!("`{interface}` is memory that `{keeper}` writes"))
                    .help("a protection that holds keys is connected by protected calls only (`sign`, `random`, `time`)"),
            );
        }
    }
}
