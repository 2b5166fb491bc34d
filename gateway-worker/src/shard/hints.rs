//! When to give up the resume URL or the session of an earlier connection. Pure.
//!
//! Both may be bad for good. A resume URL without HELLO is replaced by the gateway's own URL, a session that Discord
//! keeps refusing by an IDENTIFY. A gateway that cannot be reached counts against neither.

/// Consecutive failures before HELLO after which a resume URL is given up.
const RESUME_URL: u32 = 2;
/// Doubt at which a session is given up ...
const DOUBT: u32 = 10;
/// ... to which a refused RESUME adds this much, ...
const NOT_TAKEN: u32 = 2;
/// ... and a connection that is lost soon after RESUMED this much.
const NOT_HELD: u32 = 1;

/// How far a connection came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionOutcome {
    /// It used the session's resume URL.
    pub(super) by_resume_url: bool,
    /// HELLO came.
    pub(super) hello: bool,
    /// RESUME was sent.
    pub(super) offered: bool,
    /// READY or RESUMED came.
    pub(super) taken: bool,
    /// It lasted long enough to forget earlier failures.
    pub(super) held: bool,
}

/// Failures with the present session.
#[derive(Debug, Default)]
pub(super) struct Hints {
    resume_url: u32,
    session: u32,
}

impl Hints {
    /// Notes how a connection ended.
    pub(super) fn note_outcome(&mut self, how: ConnectionOutcome) {
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

    /// Whether to give up the resume URL.
    pub(super) fn is_resume_url_bad(&self) -> bool {
        self.resume_url >= RESUME_URL
    }

    /// Whether to give up the session.
    pub(super) fn is_session_bad(&self) -> bool {
        self.session >= DOUBT
    }

    /// Starts over for another resume URL, or none.
    pub(super) fn forget_resume_url(&mut self) {
        self.resume_url = 0;
    }

    /// Starts over for another session.
    pub(super) fn forget_session(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: ConnectionOutcome =
        ConnectionOutcome { by_resume_url: true, hello: false, offered: false, taken: false, held: false };
    const REFUSED: ConnectionOutcome = ConnectionOutcome { hello: true, offered: true, ..SILENT };
    const CUT: ConnectionOutcome = ConnectionOutcome { taken: true, ..REFUSED };

    /// After how many such connections the resume URL and the session are given up.
    fn given_up(how: ConnectionOutcome) -> (Option<u32>, Option<u32>) {
        let mut hints = Hints::default();
        let (mut url, mut session) = (None, None);
        for connections in 1..100 {
            hints.note_outcome(how);
            url = url.or(hints.is_resume_url_bad().then_some(connections));
            session = session.or(hints.is_session_bad().then_some(connections));
        }
        (url, session)
    }

    #[test]
    fn each_hint_is_given_up_after_a_bounded_number_of_failures() {
        for (name, how, after) in [
            ("no HELLO at the resume URL", SILENT, (Some(2), None)),
            ("no HELLO at the gateway", ConnectionOutcome { by_resume_url: false, ..SILENT }, (None, None)),
            ("RESUME not taken", REFUSED, (None, Some(5))),
            ("RESUMED, then lost", CUT, (None, Some(10))),
            ("RESUMED, and held", ConnectionOutcome { held: true, ..CUT }, (None, None)),
            ("IDENTIFY not taken", ConnectionOutcome { offered: false, ..REFUSED }, (None, None)),
        ] {
            assert_eq!(given_up(how), after, "{name}");
        }
    }

    #[test]
    fn hello_clears_the_resume_url() {
        let mut hints = Hints::default();
        for how in [SILENT, REFUSED, SILENT] {
            hints.note_outcome(how);
        }
        assert!(!hints.is_resume_url_bad());
    }
}
