//! One suite of rules over memory, one Redis, a Redis Cluster, and Redis behind Sentinel.

/// Makes a test of each rule, an async function over a fresh subject: `memory::RULE` and `redis::RULE`, and `over_a_cluster` and
/// `over_a_sentinel`, where all rules run one after the other, each under a key prefix of its own. `as_a_member` runs them as the user that
/// `deploy/redis/users.acl` has for coordinators and workers.
///
/// `memory(..)` takes arguments for `tokio::test`. The caller names what its expressions use in the module around the call.
#[macro_export]
macro_rules! contract {
    (
        memory $test:tt => $memory:expr,
        redis($url:ident, $prefix:ident) => $redis:expr,
        $($module:ident::$rule:ident),* $(,)?
    ) => {
        mod memory {
            use super::*;
            $(#[tokio::test $test]
            async fn $rule() {
                $module::$rule($memory).await;
            })*
        }

        mod redis {
            use super::*;
            $(#[tokio::test]
            async fn $rule() {
                let server = $crate::RedisServer::start().await;
                let ($url, $prefix) = (&server.url(), "test");
                $module::$rule($redis).await;
            })*
        }

        async fn all_rules($url: &str) {
            $(
                let $prefix = stringify!($rule);
                eprintln!("rule {}", $prefix);
                $module::$rule($redis).await;
            )*
        }

        #[tokio::test]
        async fn as_a_member() {
            let server = $crate::RedisServer::start_with_users().await;
            $(
                server.command::<()>(&["FLUSHALL"]).await;
                eprintln!("rule {}", stringify!($rule));
                let ($url, $prefix) = (&server.url_as($crate::RedisUser::Member), "altergolden");
                $module::$rule($redis).await;
            )*
        }

        #[tokio::test]
        async fn over_a_cluster() {
            all_rules(&$crate::RedisCluster::start().await.url()).await;
        }

        #[tokio::test]
        async fn over_a_sentinel() {
            all_rules(&$crate::RedisSentinel::start().await.url()).await;
        }
    };
}
