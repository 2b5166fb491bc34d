//! Answers and their classes.

use super::*;

const NOW: Duration = Duration::from_secs(1_790_000_000);
/// 20 s after `NOW`.
const DATE: &str = "Mon, 21 Sep 2026 14:13:40 GMT";
const API: (&str, &str) = ("via", "1.1 google");
const EDGE: (&str, &str) = ("server", "cloudflare");
const HTML: (&str, &str) = ("content-type", "text/html; charset=UTF-8");
const JSON: (&str, &str) = ("content-type", "application/json");
const BUCKET_HEADERS: [(&str, &str); 4] = [
    ("x-ratelimit-bucket", "b"),
    ("x-ratelimit-limit", "5"),
    ("x-ratelimit-remaining", "0"),
    ("x-ratelimit-reset-after", "1.5"),
];
const BLOCKED: &str = r#"{"code":0,"message":"You are being blocked from accessing our API temporarily"}"#;

fn class(status: u16, pairs: &[(&'static str, &str)], body: &str) -> AnswerClass {
    let headers = pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect::<HeaderMap>();
    let status = StatusCode::from_u16(status).unwrap();
    classify(status, &headers, body.as_bytes(), SystemTime::UNIX_EPOCH + NOW).1
}

fn limit(scope: Scope, seconds: f64) -> AnswerClass {
    AnswerClass::Limited(RateLimit { scope, retry_after: Duration::from_secs_f64(seconds) })
}

fn with_bucket(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [BUCKET_HEADERS.as_slice(), more].concat()
}

#[test]
fn scope_of_a_429_is_read() {
    use Scope::{Address, Global, Shared, Sub, User};
    let left = [("x-ratelimit-remaining", "3"), BUCKET_HEADERS[0], BUCKET_HEADERS[1], BUCKET_HEADERS[3]];
    for (headers, body, wanted) in [
        (with_bucket(&[("retry-after", "2"), ("x-ratelimit-scope", "user")]), "", limit(User, 1.5)),
        (with_bucket(&[("retry-after", "600"), ("x-ratelimit-scope", "user")]), "", limit(Sub, 600.0)),
        (with_bucket(&[]), r#"{"retry_after":600,"global":false}"#, limit(Sub, 600.0)),
        ([&left[..], &[("retry-after", "60")]].concat(), "", limit(Sub, 60.0)),
        (with_bucket(&[("retry-after", "3"), ("x-ratelimit-scope", "shared")]), "", limit(Shared, 3.0)),
        (vec![("retry-after", "3"), ("x-ratelimit-scope", "global")], "", limit(Global, 3.0)),
        (vec![("retry-after", "3"), ("x-ratelimit-global", "true")], "{}", limit(Global, 3.0)),
        (vec![JSON, ("x-ratelimit-global", "True")], "{}", limit(Global, 60.0)),
        (vec![API], r#"{"retry_after":0.25,"global":true}"#, limit(Global, 0.25)),
        (vec![API, ("retry-after", "3")], "", limit(User, 3.0)),
        (vec![API, ("x-ratelimit-reset-after", "4.5")], "", limit(User, 4.5)),
        (vec![API, HTML, ("retry-after", "3")], "<html>", limit(User, 3.0)),
        (vec![], r#"{"retry_after":2.5,"global":false}"#, limit(User, 2.5)),
        (vec![], r#"{"code":20028,"message":"write limit"}"#, limit(User, 60.0)),
        (vec![], "", limit(Address, 60.0)),
        (vec![EDGE, JSON], BLOCKED, limit(Address, 60.0)),
        (vec![JSON], BLOCKED, limit(Address, 60.0)),
        (vec![EDGE, JSON], r#"{"retry_after":90,"global":false}"#, limit(Address, 90.0)),
        (vec![HTML, ("retry-after", "20")], "error code: 1015", limit(Address, 20.0)),
        (vec![HTML, ("x-ratelimit-global", "true")], "error code: 1015", limit(Address, 60.0)),
        (vec![("content-type", "text/plain"), ("retry-after", "900")], "", limit(Address, 900.0)),
        (vec![], "<!DOCTYPE html>", limit(Address, 60.0)),
        (vec![HTML, ("content-encoding", "br")], "\u{1}\u{2}", limit(Address, 60.0)),
    ] {
        assert_eq!(class(429, &headers, body), wanted, "{headers:?} {body}");
    }
    assert!(!RateLimit { scope: Shared, retry_after: UNSAID }.counts_as_invalid());
    assert!(RateLimit { scope: Sub, retry_after: UNSAID }.counts_as_invalid());
}

#[test]
fn wait_is_read_in_all_forms_and_bounded() {
    for (header, body, wanted) in [
        ("2", "", 2.0),
        ("2.75", "", 2.75),
        (" 7 ", "", 7.0),
        (DATE, "", 20.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "", 60.0),
        ("1", r#"{"retry_after":2.5}"#, 2.5),
        ("", r#"{"retry_after":"2.5"}"#, 2.5),
        ("", r#"{"retry_after":0}"#, 1.0),
        ("", r#"{"retry_after":-4}"#, 60.0),
        ("", r#"{"retry_after":NaN}"#, 60.0),
        ("", r#"{"retry_after":1e999}"#, 60.0),
        ("", r#"{"retry_after":null}"#, 60.0),
        ("", r#"{"retry_after":1e300}"#, 3_600.0),
        ("", "[2.5]", 60.0),
        ("99999999999999999999", "", 3_600.0),
        ("-3", "", 60.0),
        ("NaN", "", 60.0),
        ("inf", "", 60.0),
        ("soon", "", 60.0),
        ("0", "", 1.0),
        ("86400", r#"{"retry_after":86400}"#, 3_600.0),
    ] {
        let mut headers = vec![API];
        if !header.is_empty() {
            headers.push(("retry-after", header));
        }
        assert_eq!(class(429, &headers, body), limit(Scope::User, wanted), "{header:?} {body}");
    }
}

#[test]
fn status_other_than_429_is_read() {
    let address = limit(Scope::Address, 60.0);
    let trouble = |seconds: Option<u64>| AnswerClass::ServerTrouble(seconds.map(Duration::from_secs));
    for (status, headers, body, wanted) in [
        (200, vec![], "", AnswerClass::Fine),
        (403, vec![], r#"{"message":"Missing Access","code":50001}"#, AnswerClass::Fine),
        (403, vec![EDGE], r#"{"message":"Missing Access","code":50001}"#, AnswerClass::Fine),
        (403, vec![], "{}", AnswerClass::Fine),
        (403, vec![], "", AnswerClass::Fine),
        (403, vec![API, EDGE, HTML], "<html>", AnswerClass::Fine),
        (403, vec![EDGE, HTML], "<html>error code: 1020", address),
        (403, vec![HTML], "<html>", address),
        (403, vec![EDGE, JSON], BLOCKED, address),
        (401, vec![], "", AnswerClass::TokenRefused),
        (404, vec![HTML], "<html>", AnswerClass::Fine),
        (503, vec![API, ("retry-after", "5")], "", trouble(None)),
        (503, vec![EDGE, ("retry-after", "5")], "", trouble(Some(5))),
        (503, vec![EDGE, ("retry-after", "86400")], "", trouble(Some(60))),
        (520, vec![EDGE, HTML], "<html>", trouble(None)),
        (527, vec![EDGE, HTML], "error code: 527", trouble(None)),
    ] {
        assert_eq!(class(status, &headers, body), wanted, "{status} {headers:?} {body}");
    }
}
