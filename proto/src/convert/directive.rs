//! Directives of coordinators to workers.

use std::{sync::Arc, time::Duration};

use fleet_model::{Assignment, Directive, Routes, Term};

use super::{Malformed, bounds::for_people, millis, routes};
use crate::v1::{self, directive::Directive as Wire};

/// Returns a directive as the message of a coordinator with this term.
pub fn directive_to_wire(term: Term, directive: Directive) -> v1::Directive {
    let (kind, directive) = match directive {
        Directive::LeaseRenewed { report_sequence, ttl } => {
            let ttl_ms = millis(ttl);
            ("lease_renewed", Wire::LeaseRenewed(v1::LeaseRenewed { report_sequence, ttl_ms }))
        }
        Directive::Assignment(assignment) => ("assignment", Wire::Assignment((&*assignment).into())),
        Directive::RoutingTable(routes) => ("routing_table", Wire::RoutingTable((&*routes).into())),
        Directive::RoutingUpdate(update) => {
            ("routing_update", Wire::RoutingUpdate(update.encoded(routes::encode_update)))
        }
        Directive::LeaseRefused { reason } => {
            ("lease_refused", Wire::LeaseRefused(v1::LeaseRefused { reason }))
        }
        Directive::Drain { reason } => ("drain", Wire::Drain(v1::Drain { reason })),
        Directive::Unknown { kind } => return v1::Directive { term: term.0, kind, directive: None },
    };
    v1::Directive { term: term.0, kind: kind.to_owned(), directive: Some(directive) }
}

/// Returns a message's term and directive. The term counts even if the directive is malformed.
pub fn directive_from_wire(message: v1::Directive) -> (Term, Result<Directive, Malformed>) {
    let v1::Directive { term, kind, directive } = message;
    let directive = match directive {
        Some(Wire::LeaseRenewed(v1::LeaseRenewed { report_sequence, ttl_ms })) => {
            Ok(Directive::LeaseRenewed { report_sequence, ttl: Duration::from_millis(ttl_ms) })
        }
        Some(Wire::Assignment(assignment)) => {
            Assignment::try_from(assignment).map(|read| Directive::Assignment(Box::new(read)))
        }
        Some(Wire::RoutingTable(table)) => {
            Routes::try_from(table).map(|table| Directive::RoutingTable(Arc::new(table)))
        }
        Some(Wire::RoutingUpdate(update)) => {
            routes::read_update(update).map(|update| Directive::RoutingUpdate(Arc::new(update)))
        }
        Some(Wire::LeaseRefused(v1::LeaseRefused { reason })) => {
            Ok(Directive::LeaseRefused { reason: for_people(&reason) })
        }
        Some(Wire::Drain(v1::Drain { reason })) => Ok(Directive::Drain { reason: for_people(&reason) }),
        None => Ok(Directive::Unknown { kind: for_people(&kind) }),
    };
    (Term(term), directive)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_model::{Epoch, ShardKey};

    use super::*;

    #[test]
    fn every_directive_survives_the_wire() {
        let text = || "why".to_owned();
        let mut routes = Routes::new(3, BTreeMap::new());
        (routes.term, routes.revision) = (Term(7), 2);
        let shards = [(ShardKey::new(1, 3), Epoch(5))].into();
        let checkpoint_format = 1;
        let directives = [
            Directive::LeaseRenewed { report_sequence: 4, ttl: Duration::from_secs(5) },
            Directive::Assignment(Box::new(Assignment {
                shard_total: 3,
                shards,
                checkpoint_format,
                ..Assignment::default()
            })),
            Directive::RoutingUpdate(Arc::new(routes.whole())),
            Directive::RoutingTable(Arc::new(routes)),
            Directive::LeaseRefused { reason: text() },
            Directive::Drain { reason: text() },
            Directive::Unknown { kind: text() },
        ];
        for directive in directives {
            let message = directive_to_wire(Term(7), directive.clone());
            let read = directive_from_wire(message);
            if let (_, Ok(Directive::Assignment(assignment))) = &read {
                let totals: Vec<u32> = assignment.shards.keys().map(|shard| shard.total()).collect();
                assert_eq!(totals, [3], "keys compare by slot alone");
            }
            assert_eq!(read, (Term(7), Ok(directive)));
        }
    }

    #[test]
    fn malformed_directive_keeps_its_term() {
        let shards = vec![v1::ShardRange { first: 2, last: 1, epoch: 1 }];
        let assignment = v1::Assignment { shards, ..v1::Assignment::default() };
        let message =
            v1::Directive { term: 9, kind: String::new(), directive: Some(Wire::Assignment(assignment)) };
        assert_eq!(directive_from_wire(message), (Term(9), Err(Malformed::Range { first: 2, last: 1 })));
    }
}
