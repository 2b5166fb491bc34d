//! When to give up the resume URL or the session of an earlier connection. Pure.
//!
//! Both may be bad for good. A resume URL without HELLO is replaced by the gateway's own URL, a session that Discord
//! keeps refusing by an IDENTIFY. A gateway that cannot be reached counts against neither. A session that works is kept, even if its connections
//! are lost often: an IDENTIFY would not help, and costs events.

use std::time::Duration;

use tokio::time::Instant;

/// Consecutive failures before HELLO after which a resume URL is given up.
const RESUME_URL: u32 = 2;
/// Doubt at which a session is given up ...
const DOUBT: u32 = 10;
/// ... to which a refused RESUME adds this much, ...
const NOT_TAKEN: u32 = 2;
/// ... and a connection that is lost soon after RESUMED this much.
const NOT_HELD: u32 = 1;
/// How long a connection must last after READY or RESUMED to show that the session works. It ends all doubt.
const WORKS: Duration = Duration::from_secs(5);

/// How far a connection came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionOutcome {
    /// It used the session's resume URL.
    pub(super) by_resume_url: bool,
    /// HELLO came.
    pub(super) hello: bool,
    /// RESUME was sent.
    pub(super) offered: bool,
    /// When READY or RESUMED came.
    pub(super) taken_at: Option<Instant>,
}

/// Failures with the present session.
#[derive(Debug, Default)]
pub(super) struct Hints {
    resume_url: u32,
    session: u32,
}

impl Hints {
    /// Notes how a connection ended, at `ended`.
    pub(super) fn note_outcome(&mut self, how: ConnectionOutcome, ended: Instant) {
        let lasted = how.taken_at.map(|at| ended.saturating_duration_since(at));
        if lasted >= Some(WORKS) {
            *self = Self::default();
            return;
        }
        if how.hello {
            self.resume_url = 0;
        } else if how.by_resume_url {
            self.resume_url += 1;
        }
        if how.offered {
            self.session += if lasted.is_some() { NOT_HELD } else { NOT_TAKEN };
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

    /// How far a connection came, and how long after READY or RESUMED it was lost.
    #[derive(Clone, Copy)]
    struct Lost {
        how: ConnectionOutcome,
        lasted: Option<Duration>,
    }

    impl Hints {
        fn note(&mut self, Lost { how, lasted }: Lost) {
            let taken_at = Instant::now();
            let how = ConnectionOutcome { taken_at: lasted.map(|_| taken_at), ..how };
            self.note_outcome(how, taken_at + lasted.unwrap_or_default());
        }
    }

    const SILENT: Lost = Lost {
        how: ConnectionOutcome { by_resume_url: true, hello: false, offered: false, taken_at: None },
        lasted: None,
    };
    const REFUSED: Lost =
        Lost { how: ConnectionOutcome { hello: true, offered: true, ..SILENT.how }, lasted: None };

    /// RESUMED came, and the connection was lost this long after it.
    const fn resumed_for(lasted: Duration) -> Lost {
        Lost { lasted: Some(lasted), ..REFUSED }
    }

    const CUT: Lost = resumed_for(Duration::from_millis(4_999));

    /// After how many such connections the resume URL and the session are given up.
    fn given_up(lost: Lost) -> (Option<u32>, Option<u32>) {
        let mut hints = Hints::default();
        let (mut url, mut session) = (None, None);
        for connections in 1..100 {
            hints.note(lost);
            url = url.or(hints.is_resume_url_bad().then_some(connections));
            session = session.or(hints.is_session_bad().then_some(connections));
        }
        (url, session)
    }

    #[test]
    fn each_hint_is_given_up_after_a_bounded_number_of_failures() {
        let by_gateway = Lost { how: ConnectionOutcome { by_resume_url: false, ..SILENT.how }, ..SILENT };
        let identified = Lost { how: ConnectionOutcome { offered: false, ..REFUSED.how }, ..REFUSED };
        for (name, lost, after) in [
            ("no HELLO at the resume URL", SILENT, (Some(2), None)),
            ("no HELLO at the gateway", by_gateway, (None, None)),
            ("RESUME not taken", REFUSED, (None, Some(5))),
            ("RESUMED, then lost", CUT, (None, Some(10))),
            ("RESUMED, and lost later", resumed_for(WORKS), (None, None)),
            ("IDENTIFY not taken", identified, (None, None)),
        ] {
            assert_eq!(given_up(lost), after, "{name}");
        }
    }

    #[test]
    fn session_that_works_in_between_is_kept() {
        let works = resumed_for(Duration::from_secs(15));
        for between in [&[CUT, REFUSED, REFUSED][..], &[REFUSED; 4], &[CUT; 9], &[SILENT, CUT, REFUSED]] {
            let mut hints = Hints::default();
            for lost in between.iter().chain([&works]).cycle().take(100) {
                hints.note(*lost);
                assert!(!hints.is_session_bad(), "{hints:?}");
            }
        }
    }

    #[test]
    fn hello_clears_the_resume_url() {
        let mut hints = Hints::default();
        for lost in [SILENT, REFUSED, SILENT] {
            hints.note(lost);
        }
        assert!(!hints.is_resume_url_bad());
    }
}
