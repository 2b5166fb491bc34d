//! What operators want, on its way into the store; and the answers to them, which wait until it is there: a plan of which
//! the caller has heard outlives this coordinator.

use tokio::sync::oneshot;

use super::{Driver, DriverOutcome};
use crate::handle::HandleError;
use fleet::{Intent, PlanRefused, PlanView};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct IntentWriting {
    in_flight: bool,
    /// The newest intent that waits for the one before to be written.
    next: Option<String>,
    /// The last one could not be written. It is written again when the store is back.
    owed: bool,
    answers: Vec<(oneshot::Sender<Result<PlanView, HandleError>>, PlanView)>,
}

impl Driver<'_> {
    /// Writes what operators want: one at a time, so that an older one never comes last.
    pub(super) fn write_intent(&mut self, intent: &Intent) {
        let text = serde_json::to_string(intent).expect("names and numbers are always JSON");
        if self.intents.in_flight {
            self.intents.next = Some(text);
        } else {
            self.save_intent(text);
        }
    }

    fn save_intent(&mut self, text: String) {
        self.intents.in_flight = true;
        let (store, term) = (self.shell.store.clone(), self.term.number);
        self.start(async move {
            let written = store.save_intent(term, &text).await;
            fail::fail_point!("coordinator_intent_written");
            DriverOutcome::Intent(written)
        });
    }

    /// The store has taken what was on its way, or not.
    pub(super) fn on_intent_written(&mut self, is_written: bool) {
        self.intents.in_flight = false;
        self.intents.owed = !is_written;
        if let Some(next) = self.intents.next.take() {
            self.save_intent(next);
        }
    }

    /// Answers an operator: at once when nothing was done, else with what is written.
    pub(super) fn answer_plan(
        &mut self,
        reply: oneshot::Sender<Result<PlanView, HandleError>>,
        plan: Result<PlanView, PlanRefused>,
    ) {
        match plan {
            Ok(plan) => {
                self.intents.answers.retain(|(reply, _)| !reply.is_closed());
                self.intents.answers.push((reply, plan));
            }
            Err(refused) => drop(reply.send(Err(HandleError::Plan(refused)))),
        }
    }

    /// Gives the answers that waited for what is written now.
    pub(super) fn answer_written(&mut self) {
        if !self.intents.in_flight && !self.intents.owed {
            for (reply, plan) in self.intents.answers.drain(..) {
                drop(reply.send(Ok(plan)));
            }
        }
    }
}
