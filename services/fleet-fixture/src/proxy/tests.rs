//! A server that says back what it hears, through the proxy.

use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// Too short for anything but "nothing came".
const A_WHILE: Duration = Duration::from_millis(150);

async fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, client)
}

async fn says(client: &mut TcpStream, word: [u8; 4]) {
    client.write_all(&word).await.unwrap();
    hears(client, word).await;
}

async fn hears(client: &mut TcpStream, word: [u8; 4]) {
    let mut heard = [0; 4];
    timeout(SOON, client.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, word);
}

#[tokio::test]
async fn a_hung_connection_loses_nothing() {
    let (proxy, mut client) = echo().await;
    says(&mut client, *b"one.").await;
    proxy.hang();
    client.write_all(b"two.").await.unwrap();
    let mut heard = [0; 4];
    assert!(timeout(A_WHILE, client.read_exact(&mut heard)).await.is_err(), "something came through");
    let mut newcomer = TcpStream::connect(proxy.address()).await.unwrap();
    newcomer.write_all(b"new.").await.unwrap();
    proxy.heal();
    hears(&mut client, *b"two.").await;
    hears(&mut newcomer, *b"new.").await;
}

#[tokio::test]
async fn cut_resets_open_and_new_connections() {
    let (proxy, mut client) = echo().await;
    says(&mut client, *b"one.").await;
    proxy.cut();
    let ended = timeout(SOON, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    // The kernel may tell of the reset while connecting, or after.
    if let Ok(mut newcomer) = TcpStream::connect(proxy.address()).await {
        assert!(timeout(SOON, newcomer.read_u8()).await.unwrap().is_err());
    }
    proxy.heal();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut client, *b"two.").await;
}

#[tokio::test]
async fn a_hung_connection_can_be_cut() {
    let (proxy, mut client) = echo().await;
    says(&mut client, *b"one.").await;
    proxy.hang();
    client.write_all(b"two.").await.unwrap();
    proxy.cut();
    assert!(timeout(SOON, client.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn delayed_bytes_arrive_later_and_in_order() {
    let (proxy, mut client) = echo().await;
    proxy.set(Traffic::Late(Duration::from_millis(100)));
    let sent = Instant::now();
    client.write_all(b"one.").await.unwrap();
    client.write_all(b"two.").await.unwrap();
    hears(&mut client, *b"one.").await;
    assert!(sent.elapsed() >= Duration::from_millis(200), "late both ways");
    hears(&mut client, *b"two.").await;
}

#[tokio::test]
async fn end_of_stream_is_passed_on() {
    let (_proxy, mut client) = echo().await;
    says(&mut client, *b"one.").await;
    client.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, client.read(&mut [0; 4])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn connections_wait_until_the_target_is_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::unaimed().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(b"one.").await.unwrap();
    proxy.aim(listener.local_addr().unwrap());
    let (mut socket, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    hears(&mut socket, *b"one.").await;
}
