//! What is kept from an earlier connection, and when it is given up: the resume URL and the session. Pure.
//!
//! Each is a hint that may be wrong for good. A resume URL on which no HELLO comes is given up for the gateway's own URL, a
//! session that is offered in vain for an IDENTIFY. Neither is given up because the gateway itself can't be reached.

/// Connections in a row to a resume URL that may end before HELLO.
const RESUME_URL: u32 = 2;
/// A session is given up at this much doubt ...
const DOUBT: u32 = 10;
/// ... of which a RESUME that is not taken is this much, ...
const NOT_TAKEN: u32 = 2;
/// ... and one that is taken, on a connection that does not last, this much.
const NOT_HELD: u32 = 1;

/// How far a connection came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    /// It went to the session's resume URL.
    pub(super) by_resume_url: bool,
    /// HELLO came.
    pub(super) hello: bool,
    /// RESUME was sent.
    pub(super) offered: bool,
    /// READY or RESUMED came.
    pub(super) taken: bool,
    /// It held for so long that earlier failures do not count any more.
    pub(super) held: bool,
}

/// What was tried in vain of the present session.
#[derive(Debug, Default)]
pub(super) struct Hints {
    resume_url: u32,
    session: u32,
}

impl Hints {
    /// Notes how a connection ended.
    pub(super) fn ended(&mut self, how: Ended) {
        if how.held {
            *self = Self::default();
            return;
        }
        if how.hello {
            self.resume_url = 0;
        } else if how.by_resume_url {
            self.resume_url += 1;
        }
        if how.offered {
            self.session += if how.taken { NOT_HELD } else { NOT_TAKEN };
        }
    }

    /// Whether the resume URL leads nowhere.
    pub(super) fn is_resume_url_bad(&self) -> bool {
        self.resume_url >= RESUME_URL
    }

    /// Whether the session was offered in vain often enough.
    pub(super) fn is_session_bad(&self) -> bool {
        self.session >= DOUBT
    }

    /// Another resume URL, or none, is used from here on.
    pub(super) fn forget_resume_url(&mut self) {
        self.resume_url = 0;
    }

    /// Another session is used from here on.
    pub(super) fn forget_session(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Ended =
        Ended { by_resume_url: true, hello: false, offered: false, taken: false, held: false };
    const REFUSED: Ended = Ended { hello: true, offered: true, ..SILENT };
    const CUT: Ended = Ended { taken: true, ..REFUSED };

    /// After how many connections that end so what is given up: the resume URL, the session.
    fn given_up(how: Ended) -> (Option<u32>, Option<u32>) {
        let mut hints = Hints::default();
        let (mut url, mut session) = (None, None);
        for connections in 1..100 {
            hints.ended(how);
            url = url.or(hints.is_resume_url_bad().then_some(connections));
            session = session.or(hints.is_session_bad().then_some(connections));
        }
        (url, session)
    }

    #[test]
    fn each_hint_is_given_up_after_a_bounded_number_of_failures() {
        for (name, how, after) in [
            ("no HELLO at the resume URL", SILENT, (Some(2), None)),
            ("no HELLO at the gateway", Ended { by_resume_url: false, ..SILENT }, (None, None)),
            ("RESUME not taken", REFUSED, (None, Some(5))),
            ("RESUMED, then lost", CUT, (None, Some(10))),
            ("RESUMED, and held", Ended { held: true, ..CUT }, (None, None)),
            ("IDENTIFY not taken", Ended { offered: false, ..REFUSED }, (None, None)),
        ] {
            assert_eq!(given_up(how), after, "{name}");
        }
    }

    #[test]
    fn hello_clears_the_resume_url() {
        let mut hints = Hints::default();
        for how in [SILENT, REFUSED, SILENT] {
            hints.ended(how);
        }
        assert!(!hints.is_resume_url_bad());
    }
}
