//! Errors as `tonic::Status`: the one table from classes of errors to gRPC codes.

use fleet_model::{Classified, ErrorClass};
use tonic::{Code, Status};

use super::Malformed;

/// Each class of errors with its gRPC code.
const CODES: [(ErrorClass, Code); 12] = [
    (ErrorClass::InvalidInput, Code::InvalidArgument),
    (ErrorClass::NotFound, Code::NotFound),
    (ErrorClass::AlreadyExists, Code::AlreadyExists),
    (ErrorClass::NotPermitted, Code::FailedPrecondition),
    (ErrorClass::Forbidden, Code::PermissionDenied),
    (ErrorClass::Unavailable, Code::Unavailable),
    (ErrorClass::TooBusy, Code::ResourceExhausted),
    (ErrorClass::TooLate, Code::DeadlineExceeded),
    (ErrorClass::Superseded, Code::Aborted),
    (ErrorClass::DataLoss, Code::DataLoss),
    (ErrorClass::Unsupported, Code::Unimplemented),
    (ErrorClass::Internal, Code::Internal),
];

/// Returns an error as the status of a call: the code of its class, and its text.
pub fn status(error: &impl Classified) -> Status {
    refusal(error.class(), error.to_string())
}

/// Returns the status of a call that is refused without an error of its own: the code of the class, and the text.
pub fn refusal(refused: ErrorClass, text: impl Into<String>) -> Status {
    let entry = CODES.iter().find(|(class, _)| *class == refused);
    Status::new(entry.map_or(Code::Internal, |(_, code)| *code), text)
}

/// Returns the class of a peer's status; a code that no class has is [`ErrorClass::Internal`].
pub fn class_of(status: &Status) -> ErrorClass {
    let entry = CODES.iter().find(|(_, code)| *code == status.code());
    entry.map_or(ErrorClass::Internal, |(class, _)| *class)
}

impl Classified for Malformed {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidInput
    }
}

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Self {
        status(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("text")]
    struct Failure(ErrorClass);

    impl Classified for Failure {
        fn class(&self) -> ErrorClass {
            self.0
        }
    }

    #[test]
    fn every_class_survives_the_wire() {
        for (class, code) in CODES {
            let status = status(&Failure(class));
            assert_eq!((status.code(), status.message(), class_of(&status)), (code, "text", class));
        }
        assert_eq!(class_of(&Status::unauthenticated("")), ErrorClass::Internal);
    }
}
