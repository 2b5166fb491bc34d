//! REST, called directly and by twilight.

pub(crate) mod call;
mod commands;
mod interactions;
mod limits;
mod messages;
mod twilight;

use crate::{
    client::{Client, quick, start},
    http::http,
};
use discord_sim::{Fault, SimConfig};
use serde_json::json;

#[tokio::test]
async fn errors_have_discords_format() {
    let sim = start(SimConfig { token: Some("right".into()), ..quick() }).await;
    let unauthorized = (401, json!({"message": "401: Unauthorized", "code": 0}));
    for header in ["", "Authorization: Bot wrong\r\n", "Authorization: right\r\n"] {
        for path in ["/api/v10/gateway/bot", "/api/v10/users/@me", "/api/applications/@me"] {
            assert_eq!(http(&sim, "GET", path, header, "").await, unauthorized);
        }
    }
    let not_found = (404, json!({"message": "404: Not Found", "code": 0}));
    assert_eq!(http(&sim, "GET", "/api/v10/nowhere", "", "").await, not_found);
    assert_eq!(http(&sim, "GET", "/nowhere", "", "").await, not_found);
    assert_eq!(http(&sim, "POST", "/api/v10/gateway", "", "").await.0, 405);
    let url = json!({"url": sim.gateway_url()});
    for path in ["/api/v10/gateway", "/api/gateway"] {
        assert_eq!(http(&sim, "GET", path, "", "").await, (200, url.clone()));
    }
    sim.control().inject(Fault::RestDown { on: true }).unwrap();
    assert_eq!(http(&sim, "GET", "/api/v10/gateway", "", "").await.0, 503);
    sim.shutdown().await;
}

#[tokio::test]
async fn twilight_parses_the_start_routes() {
    let config = SimConfig { guilds: 2_500, max_concurrency: 4, token: Some("right".into()), ..quick() };
    let sim = start(config).await;
    crate::twilight::install_crypto();
    let proxy = sim.addr().to_string();
    let http = twilight_http::Client::builder()
        .token("Bot right".into())
        .proxy(proxy, true)
        .ratelimiter(None)
        .build();
    let bot = http.gateway().authed().await.unwrap().model().await.unwrap();
    assert_eq!((bot.shards, bot.url), (3, sim.gateway_url()));
    let limit = bot.session_start_limit;
    assert_eq!((limit.total, limit.remaining, limit.max_concurrency), (1_000, 1_000, 4));
    let user = http.current_user().await.unwrap().model().await.unwrap();
    let application = http.current_user_application().await.unwrap().model().await.unwrap();
    assert_eq!((user.bot, user.id.get()), (true, application.id.get()));
    assert_eq!(application.approximate_guild_count, Some(2_500));

    let mut client = Client::connect(&sim).await;
    client.send(crate::client::identify("right", (0, 3), 1)).await;
    assert_eq!(client.payload().await["t"], "READY");
    let bot = http.gateway().authed().await.unwrap().model().await.unwrap();
    assert_eq!(bot.session_start_limit.remaining, 999);
    sim.shutdown().await;
}
