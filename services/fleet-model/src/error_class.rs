//! What an error means for its caller, apart from any protocol.

/// What an error means for its caller. `altergolden_proto::convert` has the gRPC code of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request is invalid: it fails again unless it is changed.
    InvalidInput,
    /// The named object does not exist.
    NotFound,
    /// It exists or is in progress already.
    AlreadyExists,
    /// The state of the fleet or a setting does not permit it.
    NotPermitted,
    /// The caller has not proven that it may do this.
    Forbidden,
    /// A worker, a store or a connection is away: a retry may succeed.
    Unavailable,
    /// A bound is reached: a later retry may succeed.
    TooBusy,
    /// There was no answer by the deadline.
    TooLate,
    /// A newer request or owner took its place.
    Superseded,
    /// Stored data is damaged or of an unexpected format.
    DataLoss,
    /// The other side's version does not know the request.
    Unsupported,
    /// A defect of this platform.
    Internal,
}

/// An error that says what it means for its caller.
pub trait Classified: std::error::Error {
    /// Returns the class.
    fn class(&self) -> ErrorClass;
}
