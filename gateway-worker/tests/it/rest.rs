//! Discord's REST API as bot code has it: by way of the worker's proxy.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use discord_sim::{Fault, InteractionState, LimitScope, NewInteraction};
use gateway_worker::{Context, Event, EventHandler, Wanted, async_trait};
use twilight_model::http::interaction::{InteractionResponse, InteractionResponseType};

use crate::bench::{Bench, Recorder, sim};

/// Asks who it is for each message, and answers each interaction.
#[derive(Default)]
struct Asker(Mutex<Vec<Result<String, String>>>);

#[async_trait]
impl EventHandler for Asker {
    fn wants(&self) -> Wanted {
        Wanted::only(["MESSAGE_CREATE", "INTERACTION_CREATE"])
    }

    async fn handle(&self, context: &Context, event: &Event) {
        let answer = match event.parse() {
            Ok(Some(twilight_model::gateway::event::Event::InteractionCreate(interaction))) => {
                let pong = InteractionResponse {
                    kind: InteractionResponseType::DeferredChannelMessageWithSource,
                    data: None,
                };
                let discord = context.callbacks().interaction(interaction.application_id);
                let sent = discord.create_response(interaction.id, &interaction.token, &pong).await;
                sent.map(|_| String::new()).map_err(|error| error.to_string())
            }
            _ => match context.http().current_user().await {
                Ok(me) => Ok(me.model().await.unwrap().name),
                Err(error) => Err(error.to_string()),
            },
        };
        self.0.lock().unwrap().push(answer);
    }
}

impl Asker {
    async fn answers(&self, count: usize) -> Vec<Result<String, String>> {
        let looking = async {
            loop {
                let answers = self.0.lock().unwrap().clone();
                if answers.len() >= count {
                    return answers;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), looking).await.expect("answers")
    }
}

async fn bench() -> (Bench, Arc<Asker>) {
    let asker = Arc::new(Asker::default());
    let mut bench = Bench::without_workers(sim(12), Recorder::default()).await;
    bench.worker("w", asker.clone(), &["--drain-timeout=100ms"]).await;
    bench.until_ready("the shard to be ready").await;
    (bench, asker)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_429_is_waited_out() {
    let (bench, asker) = bench().await;
    for (count, scope) in [LimitScope::User, LimitScope::Shared, LimitScope::Global].into_iter().enumerate() {
        bench.inject(Fault::RateLimit { count: 1, scope, retry_after: 1.0 });
        bench.write(1, "who am I");
        let answers = asker.answers(count + 1).await;
        assert!(answers[count].is_ok(), "{scope:?}: {answers:?}");
    }
    // A wait that is too long is an error at once, and one request: twilight repeats a 429 without a pause.
    bench.inject(Fault::RateLimit { count: 1_000, scope: LimitScope::Global, retry_after: 600.0 });
    bench.write(1, "who am I");
    assert!(asker.answers(4).await[3].is_err());
    let requests = bench.control().requests();
    let refused: u64 = requests.counts.iter().filter(|of| of.status == 429).map(|of| of.count).sum();
    assert_eq!(refused, 4, "{requests:?}");
    bench.inject(Fault::RateLimit { count: 0, scope: LimitScope::Global, retry_after: 1.0 });
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_answers_to_interactions_are_sent_in_parallel() {
    let (bench, asker) = bench().await;
    // One after the other they would take ten seconds, and Discord takes none after three.
    bench.inject(Fault::RestDelay { ms: 1_000 });
    for guild in bench.guilds().into_iter().take(10) {
        let command = NewInteraction {
            command: Some("ping".into()),
            guild_id: Some(guild),
            ..NewInteraction::default()
        };
        bench.inject(Fault::Interaction(command));
    }
    let answers = asker.answers(10).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let interactions = bench.control().interactions();
    assert_eq!(interactions.len(), 10);
    assert!(interactions.iter().all(|each| each.state == InteractionState::Deferred), "{interactions:?}");
    bench.finish().await;
}
