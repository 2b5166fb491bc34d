//! Long lists of odd elements.

use serde_json::{Value, json};

use super::{ALL, GUILD, figures, json_of, sure, tell};
use crate::testing::guilds::{begun, guild, member};

#[test]
fn fields_that_are_odd_in_every_element_cost_only_themselves() {
    let many = |count: u64, element: &dyn Fn(u64) -> Value, odd: &[(&str, Value)]| -> Value {
        let with_odd = |id: u64| {
            let mut element = element(id);
            for (pointer, value) in odd {
                let (parent, field) = pointer.rsplit_once('/').unwrap();
                element.pointer_mut(parent).unwrap()[field] = value.clone();
            }
            element
        };
        (1..=count).map(with_odd).collect()
    };
    let channel = |id: u64| json!({"id": (1_000 + id).to_string(), "type": 0, "name": format!("channel{id}"), "position": id});
    let role = |id: u64| json!({"id": (1_000 + id).to_string(), "name": format!("role{id}"), "permissions": "8", "position": id});
    let members = |odd: &[(&str, Value)]| ("members", many(2_000, &member, odd));
    let channels = |odd: &[(&str, Value)]| ("channels", many(500, &channel, odd));
    let roles = |odd: &[(&str, Value)]| ("roles", many(250, &role, odd));
    let every_field = [
        ("/avatar", json!(5)),
        ("/joined_at", json!(5)),
        ("/roles", json!([[]])),
        ("/deaf", json!("no")),
        ("/mute", json!("no")),
        ("/flags", json!("none")),
        ("/pending", json!(0)),
        ("/user/avatar", json!(5)),
        ("/user/discriminator", json!([])),
        ("/user/flags", json!("none")),
    ];
    let rows: Vec<Vec<(&str, Value)>> = vec![
        vec![members(&[("/avatar", json!(5))])],
        vec![members(&[("/user/avatar", json!(5)), ("/roles", json!(["x"]))])],
        vec![members(&every_field)],
        vec![channels(&[("/topic", json!([]))])],
        vec![channels(&[("/permission_overwrites", json!([{"id": "x"}])), ("/nsfw", json!(3))])],
        vec![roles(&[("/color", json!("red"))])],
        vec![
            members(&[("/avatar", json!(5))]),
            channels(&[("/topic", json!([])), ("/type", json!("text"))]),
            roles(&[("/color", json!("red")), ("/colors", json!(null))]),
            ("emojis", json!(vec![json!({"id": "1", "name": 5}); 250])),
            ("owner_id", json!([1])),
            ("icon", json!(5)),
            ("afk_timeout", json!("long")),
        ],
    ];
    for row in rows {
        let mut odd = guild(GUILD);
        let mut given: Vec<&str> = Vec::new();
        for (field, value) in row {
            odd[field] = value;
            given.push(field);
        }
        let cache = begun("all", &[GUILD]);
        tell(&cache, "GUILD_CREATE", &odd.to_string(), 2);
        let count = |field: &str| odd[field].as_array().unwrap().len();
        let row = format!("{given:?}");
        assert_eq!(figures(&cache), (1, 600, count("channels") as u32, 1), "{row}");
        assert_eq!(sure(&cache), ALL, "{row}");
        assert_eq!(cache.guild(GUILD).unwrap().name.as_deref(), Some("guild5"), "{row}");
        let last = count("members") as u64;
        let member = json_of(cache.find_member(GUILD, last << 22, &[]));
        assert_eq!(
            (&member["nick"], &member["user"]["username"]),
            (&json!(format!("nick{last}")), &json!(format!("user{last}"))),
            "{row}"
        );
        if given.contains(&"channels") {
            assert_eq!(json_of(cache.find_channel(GUILD, 1_500, &[]))["name"], "channel500", "{row}");
        }
        if given.contains(&"roles") {
            let roles = json_of(cache.find_roles(GUILD, &[]));
            assert_eq!(
                (roles.as_array().unwrap().len(), &roles[249]["name"]),
                (250, &json!("role250")),
                "{row}"
            );
        }
    }
}

#[test]
fn odd_elements_among_many_are_left_out_quickly() {
    let mut odd = guild(GUILD);
    odd["members"] =
        (1..=5_000_u64).map(|id| if id % 10 == 0 { json!({"user": null}) } else { member(id) }).collect();
    let began = std::time::Instant::now();
    let cache = begun("all", &[GUILD]);
    tell(&cache, "GUILD_CREATE", &odd.to_string(), 2);
    assert_eq!(figures(&cache).0, 1);
    assert!(cache.username(4_999 << 22).is_some());
    assert!(cache.users_doubt().is_some());
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}
