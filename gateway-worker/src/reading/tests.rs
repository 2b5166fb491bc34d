//! How much work mending an odd event takes.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{Odd, Part, least, mend::Mend};

/// A guild whose members and channels accept texts alone in these fields.
#[derive(Deserialize)]
struct Guild {
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default, rename = "members")]
    _members: Vec<Member>,
    #[serde(default, rename = "channels")]
    _channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Member {
    #[serde(rename = "user")]
    _user: User,
    #[serde(default, rename = "avatar")]
    _avatar: Option<String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default, rename = "avatar")]
    _avatar: Option<String>,
}

#[derive(Deserialize)]
struct Channel {
    #[serde(default, rename = "topic")]
    _topic: Option<String>,
    #[serde(default, rename = "permission_overwrites")]
    _overwrites: Vec<IgnoredAny>,
}

/// Makes an odd guild of a size.
type Make<'a> = Box<dyn Fn(usize) -> Value + 'a>;

/// Bytes tested to mend a guild, and the guild.
fn mend(given: Value) -> (usize, Value) {
    let (mut odd, mut tested) = (Odd::default(), 0);
    let fits = &mut |text: &str| {
        tested += text.len();
        serde_json::from_str::<Guild>(text).is_ok()
    };
    let least = least::fill(least::of_event("GUILD_CREATE").unwrap(), &given).unwrap();
    let mended = Mend::new(&mut odd, fits).event(Part::Guild, least, None, given).unwrap();
    (tested, mended)
}

#[test]
fn mending_takes_work_in_proportion_to_the_event() {
    fn guild(mut fields: Value) -> Value {
        fields["id"] = json!("1");
        fields
    }
    let member = |odd: Value| {
        move |id: usize| {
            let id = (id + 1).to_string();
            let mut member = json!({"user": {"id": id, "username": "name"}, "nick": id});
            member.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
            member
        }
    };
    let unknown = |count: usize| (0..count).map(|field| (format!("new{field}"), json!(field))).collect();
    let avatar = member(json!({"avatar": 5}));
    let rows: [(&str, Make<'_>); 5] = [
        (
            "every member",
            Box::new(|count| guild(json!({"members": (0..count).map(&avatar).collect::<Value>()}))),
        ),
        (
            "every second member",
            Box::new(|count| {
                let element =
                    |id: usize| if id.is_multiple_of(2) { avatar(id) } else { member(json!({}))(id) };
                guild(json!({"members": (0..count).map(element).collect::<Value>()}))
            }),
        ),
        (
            "a field of every user",
            Box::new(|count| {
                let element = |id: usize| json!({"user": {"id": (id + 1).to_string(), "avatar": 5}, "nick": (id + 1).to_string()});
                guild(json!({"members": (0..count).map(element).collect::<Value>()}))
            }),
        ),
        (
            "another field of each member",
            Box::new(|count| {
                let element = |id: usize| member(json!({format!("new{}", id % 60): 1, "avatar": 5}))(id);
                guild(json!({"members": (0..count).map(element).collect::<Value>()}))
            }),
        ),
        (
            "the name among unknown fields",
            Box::new(|count| {
                let mut fields: serde_json::Map<String, Value> = unknown(count);
                fields.extend([("name".to_owned(), json!(5)), ("members".to_owned(), json!([avatar(0)]))]);
                guild(Value::Object(fields))
            }),
        ),
    ];
    for (what, of) in rows {
        let [few, many] = [2_000, 20_000].map(|count| {
            let given = of(count);
            let (tested, mended) = mend(given.clone());
            let members = |guild: &Value| guild["members"].as_array().unwrap().len();
            assert_eq!(members(&mended), members(&given), "{what}");
            let last = members(&given) - 1;
            assert_eq!(mended["members"][last]["nick"], given["members"][last]["nick"], "{what}");
            assert_eq!(mended["new7"], given["new7"], "{what}");
            tested
        });
        assert!(many < few * 11, "{what}: {few} and {many} bytes");
    }
}
