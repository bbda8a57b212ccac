//! Priorities: those of the description, and for the rest some that keep a callee above its callers.

use microkit_sdf::MAX_PRIORITY;

use super::{Connection, Planner, SUPERVISOR};
use crate::diagnostics::Problem;

/// The priority of a service, which nobody depends on.
const BASE: u8 = 100;

/// Distance between layers, so that a hand-given priority fits in between.
const STEP: u8 = 10;

/// One protection should have a higher priority than another.
struct Above {
    upper: usize,
    lower: usize,
    /// The connection because of which it must be so: `lower` makes protected calls to `upper`.
    call: Option<usize>,
}

impl Planner<'_> {
    /// The priority of each protection.
    pub(super) fn priorities(&mut self, connections: &[Connection]) -> Vec<u8> {
        let given = self.given_priorities();
        if self.call_cycle(connections) {
            return vec![BASE; given.len()];
        }
        let edges = self.edges(connections);
        let order = order(given.len(), &edges);
        let priorities = assign(&given, &edges, &order);
        for edge in &edges {
            if let Some(connection) = edge.call
                && priorities[edge.upper] <= priorities[edge.lower]
            {
                self.not_higher(&connections[connection], &priorities);
            }
        }
        priorities
    }

    fn given_priorities(&mut self) -> Vec<Option<u8>> {
        let mut given = Vec::new();
        for written in &self.description.protections {
            let number = written
                .entry("priority")
                .and_then(|entry| self.reader().number(entry, 0, MAX_PRIORITY.into()));
            given.push(number.map(|number| number.value as u8));
        }
        given
    }

    /// Reports a cycle of protected calls, in which everybody would have to be above everybody.
    fn call_cycle(&mut self, connections: &[Connection]) -> bool {
        let calls: Vec<&Connection> = connections.iter().filter(|c| c.interface.calls).collect();
        for start in 0..self.programs.len() {
            let Some(cycle) = path(&calls, start, start) else {
                continue;
            };
            let mut names: Vec<&str> = cycle.iter().map(|c| self.name(c.consumer)).collect();
            names.push(self.name(start));
            let message = format!("protected calls form a cycle: {}", names.join(" → "));
            let mut problem = Problem::at(self.source, cycle[0].span.clone(), message);
            for (index, connection) in cycle.iter().enumerate() {
                let (from, to) = (
                    self.name(connection.consumer),
                    self.name(connection.provider),
                );
                let label = format!("`{from}` calls `{to}`");
                problem = if index == 0 {
                    problem.label(label)
                } else {
                    problem.and(connection.span.clone(), label)
                };
            }
            self.problems.push(problem.help(
                "a callee has a higher priority than its caller; take one of the connections away",
            ));
            return true;
        }
        false
    }

    /// What should be above what: callees above callers, then, as long as that makes no cycle, lower layers
    /// above upper ones, the supervisor above all, and the console above those that write to it.
    fn edges(&self, connections: &[Connection]) -> Vec<Above> {
        let connections = connections.iter().enumerate();
        let layered = connections.filter(|(_, connection)| connection.interface.above);
        let mut wanted: Vec<(bool, Above)> = layered
            .map(|(index, connection)| {
                let edge = Above {
                    upper: connection.provider,
                    lower: connection.consumer,
                    call: connection.interface.calls.then_some(index),
                };
                (connection.interface.name == "log", edge)
            })
            .collect();
        let supervisors = self.description.protections.iter().enumerate();
        for (upper, _) in supervisors.filter(|(_, w)| w.program.value == SUPERVISOR) {
            let others = (0..self.programs.len()).filter(|&lower| lower != upper);
            wanted.extend(others.map(|lower| {
                let call = None;
                (false, Above { upper, lower, call })
            }));
        }
        wanted.sort_by_key(|(log, edge)| (edge.call.is_none(), *log));
        let mut edges: Vec<Above> = Vec::new();
        for (_, edge) in wanted {
            if edge.call.is_some() || !reaches(&edges, edge.upper, edge.lower) {
                edges.push(edge);
            }
        }
        edges
    }

    fn not_higher(&mut self, connection: &Connection, priorities: &[u8]) {
        let (caller, callee) = (connection.consumer, connection.provider);
        let (low, high) = (priorities[caller], priorities[callee]);
        let (caller, callee) = (self.written(caller), self.written(callee));
        let message = format!(
            "`{}` (priority {low}) makes protected calls to `{}` (priority {high})",
            caller.name.value, callee.name.value
        );
        let mut problem = Problem::at(self.source, callee.span("priority"), message)
            .label(format!("must be above {low}"));
        if caller.entry("priority").is_some() {
            problem = problem.and(caller.span("priority"), "the caller's priority");
        }
        self.problems.push(
            problem.help(
                "a callee has a strictly higher priority than its caller (a rule of Microkit)",
            ),
        );
    }
}

/// The shortest path of calls from one protection to another.
fn path<'c>(calls: &[&'c Connection], from: usize, to: usize) -> Option<Vec<&'c Connection>> {
    let mut paths: Vec<Vec<&Connection>> = vec![Vec::new()];
    let mut seen = Vec::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            let end = path.last().map_or(from, |connection| connection.provider);
            for call in calls.iter().filter(|call| call.consumer == end) {
                let mut next = path.clone();
                next.push(call);
                if call.provider == to {
                    return Some(next);
                }
                if !seen.contains(&call.provider) {
                    seen.push(call.provider);
                    longer.push(next);
                }
            }
        }
        paths = longer;
    }
    None
}

/// Whether `upper` already has to be below `lower`.
fn reaches(edges: &[Above], upper: usize, lower: usize) -> bool {
    let mut open = vec![upper];
    let mut seen = Vec::new();
    while let Some(node) = open.pop() {
        if node == lower {
            return true;
        }
        seen.push(node);
        let next = edges.iter().filter(|edge| edge.lower == node);
        open.extend(
            next.map(|edge| edge.upper)
                .filter(|node| !seen.contains(node)),
        );
    }
    false
}

/// All protections, each behind those that it should be above.
fn order(count: usize, edges: &[Above]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < count {
        let ready = (0..count).find(|node| {
            let waits = |edge: &Above| edge.upper == *node && !order.contains(&edge.lower);
            !order.contains(node) && !edges.iter().any(waits)
        });
        // The edges have no cycle, so one is always ready.
        let Some(node) = ready else { break };
        order.push(node);
    }
    order
}

fn assign(given: &[Option<u8>], edges: &[Above], order: &[usize]) -> Vec<u8> {
    // From the top: no caller may have more than its callees leave it.
    let mut most = vec![MAX_PRIORITY; given.len()];
    for &node in order.iter().rev() {
        if let Some(priority) = given[node] {
            most[node] = priority;
        }
        for edge in edges.iter().filter(|e| e.upper == node && e.call.is_some()) {
            most[edge.lower] = most[edge.lower].min(most[node].saturating_sub(1));
        }
    }
    // From the bottom: each a step above those below it.
    let mut priorities = vec![BASE; given.len()];
    for &node in order {
        let below = edges.iter().filter(|edge| edge.upper == node);
        let lowest = below
            .map(|edge| priorities[edge.lower].saturating_add(STEP))
            .max()
            .unwrap_or(BASE);
        priorities[node] = given[node].unwrap_or(lowest.min(most[node]));
    }
    priorities
}
