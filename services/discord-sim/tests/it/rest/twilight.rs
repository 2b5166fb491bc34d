//! twilight-http as an independent judge of REST.

use super::call::{ping, somewhere};
use crate::{
    client::{Client, USUAL as INTENTS, first_guild, quick, start},
    twilight::install_crypto,
};
use discord_sim::{Fault, InteractionState, Sim};
use twilight_http::{Client as Http, api_error::ApiError, error::ErrorType};
use twilight_model::{
    application::command::CommandType,
    channel::message::MessageFlags,
    http::interaction::{InteractionResponse, InteractionResponseData, InteractionResponseType},
    id::{Id, marker::ChannelMarker},
};

fn http(sim: &Sim) -> Http {
    install_crypto();
    Http::builder().token("Bot t".into()).proxy(sim.addr().to_string(), true).build()
}

fn text(content: &str) -> InteractionResponseData {
    InteractionResponseData { content: Some(content.into()), ..InteractionResponseData::default() }
}

#[tokio::test]
async fn twilight_registers_commands() {
    let sim = start(quick()).await;
    let http = http(&sim);
    let application = http.current_user_application().await.unwrap().model().await.unwrap().id;
    let guild = Id::new(first_guild(&sim.control()).0);
    let commands = http.interaction(application);
    let made = commands.create_global_command().chat_input("ping", "Pong").await.unwrap();
    let made = made.model().await.unwrap();
    assert_eq!((made.name.as_str(), made.kind), ("ping", CommandType::ChatInput));
    let id = made.id.unwrap();
    let changed = commands.update_global_command(id).description("New").await.unwrap().model().await.unwrap();
    assert_eq!(changed.description, "New");
    let set = commands.set_guild_commands(guild, &[made]).await.unwrap().models().await.unwrap();
    assert_eq!(set[0].guild_id, Some(guild));
    assert_eq!(commands.global_commands().await.unwrap().models().await.unwrap().len(), 1);
    commands.delete_global_command(id).await.unwrap();
    let gone = commands.global_command(id).await.unwrap_err();
    let ErrorType::Response { error: ApiError::General(error), status, .. } = gone.kind() else {
        panic!("{gone:?}")
    };
    assert_eq!((error.code, status.get()), (10063, 404));
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn twilight_answers_interactions_and_follows_up() {
    let sim = start(quick()).await;
    let http = http(&sim);
    let (mut gateway, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
    for deferred in [false, true] {
        sim.control().inject(Fault::Interaction(ping())).unwrap();
        let event = gateway.event("INTERACTION_CREATE").await["d"].clone();
        let interaction: twilight_model::application::interaction::Interaction =
            serde_json::from_value(event).unwrap();
        assert!(interaction.is_guild() && interaction.member.is_some());
        let client = http.interaction(interaction.application_id);
        let response = if deferred {
            InteractionResponse {
                kind: InteractionResponseType::DeferredChannelMessageWithSource,
                data: Some(InteractionResponseData {
                    flags: Some(MessageFlags::EPHEMERAL),
                    ..InteractionResponseData::default()
                }),
            }
        } else {
            InteractionResponse {
                kind: InteractionResponseType::ChannelMessageWithSource,
                data: Some(text("pong")),
            }
        };
        let token = &interaction.token;
        let answer = client.create_response(interaction.id, token, &response).with_response().await.unwrap();
        let answer = answer.model().await.unwrap();
        let original = answer.interaction.response_message_id.unwrap();
        let first = client.create_followup(token).content("first").await.unwrap().model().await.unwrap();
        assert_eq!(first.id == original, deferred);
        let edited =
            client.update_response(token).content(Some("done")).await.unwrap().model().await.unwrap();
        assert_eq!((edited.id, edited.content.as_str()), (original, "done"));
        let read = client.response(token).await.unwrap().model().await.unwrap();
        assert_eq!(read.flags.unwrap().contains(MessageFlags::EPHEMERAL), deferred);
        if !deferred {
            client.delete_followup(token, first.id).await.unwrap();
        }
    }
    let states: Vec<_> = sim.control().interactions().iter().map(|one| one.state).collect();
    assert_eq!(states, [InteractionState::Answered; 2]);
    assert!(sim.control().violations().items.is_empty(), "{:?}", sim.control().violations());
    sim.shutdown().await;
}

#[tokio::test]
async fn twilight_writes_edits_and_deletes_messages() {
    let sim = start(quick()).await;
    let http = http(&sim);
    let (guild, channel) = somewhere(&sim).await;
    let channel: Id<ChannelMarker> = channel.parse().unwrap();
    let file = twilight_model::http::attachment::Attachment::from_bytes("a.txt".into(), b"hello".to_vec(), 0);
    let made = http.create_message(channel).content("hi").attachments(&[file]).await.unwrap();
    let message = made.model().await.unwrap();
    assert_eq!((message.content.as_str(), message.attachments[0].size), ("hi", 5));
    let edited =
        http.update_message(channel, message.id).content(Some("ho")).await.unwrap().model().await.unwrap();
    assert_eq!((edited.content.as_str(), edited.attachments.len()), ("ho", 1));
    let read = http.message(channel, message.id).await.unwrap().model().await.unwrap();
    assert_eq!(read.content, "ho");
    http.delete_message(channel, message.id).await.unwrap();
    http.create_typing_trigger(channel).await.unwrap();

    let guild = Id::new(guild.0);
    assert_eq!(http.guild(guild).await.unwrap().model().await.unwrap().id, guild);
    let channels = http.guild_channels(guild).await.unwrap().models().await.unwrap();
    assert!(channels.iter().any(|one| one.id == channel && one.guild_id == Some(guild)));
    assert!(!http.roles(guild).await.unwrap().models().await.unwrap().is_empty());
    let members = http.guild_members(guild).limit(5).await.unwrap().models().await.unwrap();
    assert_eq!(members.len(), 5);
    let user = members[1].user.id;
    assert_eq!(http.user(user).await.unwrap().model().await.unwrap().id, user);
    assert_eq!(http.guild_member(guild, user).await.unwrap().model().await.unwrap().user.id, user);
    let direct = http.create_private_channel(user).await.unwrap().model().await.unwrap();
    let sent = http.create_message(direct.id).content("psst").await.unwrap().model().await.unwrap();
    assert_eq!(sent.channel_id, direct.id);
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}
