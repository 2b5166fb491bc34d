//! The gRPC contract of altergolden.
//!
//! Owns the generated types ([`v1`]) and their only way to and from the domain ([`convert`]). Services take and give
//! `fleet_model` types everywhere else.

pub mod convert;
#[cfg(test)]
mod fuzzing;

/// The messages, clients and servers of package `altergolden.v1`. What each field means stands in the protos.
#[allow(missing_docs, unused_qualifications, reason = "generated; the protos carry the documentation")]
#[allow(
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("altergolden.v1");
}

/// Every message and service with its comments' names, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The lowest protocol version between worker and coordinator that this code speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// The highest protocol version between worker and coordinator that this code speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Metadata of an ALREADY_EXISTS from Register: longest remaining lease of the worker that has the name, in milliseconds.
pub const LEASE_TTL_MS: &str = "altergolden-lease-ttl-ms";

/// The highest version that both sides speak, when there is one.
pub fn common_protocol(their_min: u32, their_max: u32) -> Option<u32> {
    let highest = PROTOCOL_MAX.min(their_max);
    (highest >= PROTOCOL_MIN.max(their_min)).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        assert_eq!(common_protocol(1, 1), Some(1));
        assert_eq!(common_protocol(1, 9), Some(PROTOCOL_MAX));
        assert_eq!(common_protocol(PROTOCOL_MAX + 1, 9), None);
        assert_eq!(common_protocol(3, 2), None);
    }
}
