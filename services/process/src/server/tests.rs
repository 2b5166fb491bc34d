use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{Response, body::Bytes, service::service_fn};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::credentials::{ClientFacingCertificate, Credentials, PortSecurity};

use super::{Http1, Limits, Listener, grpc::grpc_server, serve_http1};

const SOON: Duration = Duration::from_millis(200);
/// Far above [`SOON`] and far below all limits that are not under test.
const PATIENCE: Duration = Duration::from_secs(8);

async fn listener(limits: Limits) -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "test", limits).await.unwrap();
    let address = listener.address().unwrap();
    (listener, address)
}

/// Reads until the server closes; panics if it does not.
async fn closed(stream: &mut TcpStream) {
    let mut sink = Vec::new();
    // A reset also counts: the server closes with unread bytes of the client.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut sink)).await.expect("the server closes the connection");
}

async fn grpc(limits: Limits) -> SocketAddr {
    let (listener, address) = listener(limits).await;
    let (_, health) = tonic_health::server::health_reporter();
    tokio::spawn(
        grpc_server().add_service(health).serve_with_incoming(listener.incoming(Credentials::none())),
    );
    address
}

async fn http1(limits: Limits) -> SocketAddr {
    let (listener, address) = listener(limits).await;
    let service =
        service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"well")))));
    let limits = Http1 { head_within: SOON, largest_head: 16 * 1024, last_answers: SOON };
    let plain = PortSecurity::Clients(ClientFacingCertificate::none());
    tokio::spawn(serve_http1(listener, plain, limits, service, CancellationToken::new()));
    address
}

#[tokio::test]
async fn clients_without_a_timely_greeting_are_closed() {
    let limits = Limits { greeting_within: SOON, ..Limits::GRPC };
    let address = grpc(limits).await;
    let silent = async {
        closed(&mut TcpStream::connect(address).await.unwrap()).await;
    };
    let dripping = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut read, mut write) = stream.split();
        let drip = async {
            for byte in b"PRI * HTTP/2.0\r\n\r\nSM" {
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(SOON / 4).await;
            }
        };
        let mut sink = Vec::new();
        let began = Instant::now();
        tokio::select! {
            () = drip => panic!("the server took {:?} of single bytes", began.elapsed()),
            _ = read.read_to_end(&mut sink) => {}
        }
    };
    tokio::join!(silent, dripping);
}

/// SETTINGS_MAX_CONCURRENT_STREAMS ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2)).
#[tokio::test]
async fn clients_learn_the_limit_of_streams() {
    let mut stream = TcpStream::connect(grpc(Limits::GRPC).await).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first: {head:?}");
    let mut settings = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    assert!(settings.chunks_exact(6).any(|setting| setting == [0, 3, 0, 0, 1, 0]), "{settings:?}");
}

#[tokio::test]
async fn slow_request_heads_are_closed() {
    let address = http1(Limits::HTTP1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    closed(&mut stream).await;
    closed(&mut TcpStream::connect(address).await.unwrap()).await;
}

#[tokio::test]
async fn connections_past_the_limit_wait() {
    let (mut listener, address) = listener(Limits { connections: 2, ..Limits::HTTP1 }).await;
    let _clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let served = [listener.accept().await, listener.accept().await];
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    tokio::select! {
        _ = listener.accept() => panic!("accepted past the limit"),
        read = third.read(&mut byte) => panic!("the waiting client got {read:?}"),
        () = tokio::time::sleep(SOON) => {}
    }
    drop(served);
    timeout(PATIENCE, listener.accept()).await.expect("a closed connection makes room");
}

#[tokio::test]
async fn clients_that_do_not_read_are_closed() {
    let (mut listener, address) = listener(Limits { write_stall: SOON, ..Limits::HTTP1 }).await;
    let _client = TcpStream::connect(address).await.unwrap();
    let mut served = listener.accept().await.plain();
    let writing = async {
        loop {
            if let Err(error) = served.write_all(&[0; 8_192]).await {
                return error;
            }
        }
    };
    let error = timeout(PATIENCE, writing).await.expect("the write ends");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn answers_are_sent_without_delay() {
    let (mut listener, address) = listener(Limits::GRPC).await;
    let _client = TcpStream::connect(address).await.unwrap();
    assert!(listener.accept().await.stream.nodelay().unwrap());
}
