//! What a user of Rust would write: axum, serde and rdkafka, one `send` an event.
//!
//! `collector PORT BOOTSTRAP`. It promises what the product promises: every bound of the wire checked, unknown fields
//! refused, an event that is wrong sinks no other, and the answer only after every in-sync replica has acknowledged
//! every record.

mod avro;
mod events;

use std::env::args;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::post};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::Serialize;

use crate::avro::Connection;
use crate::events::{Batch, Event};

const KEYS: [&str; 2] = ["dev-browser-key", "dev-server-key"];

#[derive(Serialize)]
struct Answer {
    accepted: usize,
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    reason: &'static str,
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn refused(status: StatusCode, error: &str) -> Response {
    json(status, format!(r#"{{"error":"{error}"}}"#))
}

async fn collect(
    State(producer): State<FutureProducer>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let key = text(header::AUTHORIZATION);
    if !KEYS.contains(&key.strip_prefix("Bearer ").unwrap_or(key)) {
        return refused(StatusCode::UNAUTHORIZED, "unknown_key");
    }
    let Some(batch) = Batch::parsed(&body) else {
        return refused(StatusCode::BAD_REQUEST, "not_a_batch");
    };
    let connection = Connection {
        session: &batch.session,
        ip: &peer.ip().to_string(),
        user_agent: text(header::USER_AGENT),
        received_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64),
    };
    let mut deliveries = Vec::with_capacity(batch.events.len());
    let mut rejected = Vec::new();
    for (index, raw) in batch.events.iter().enumerate() {
        let Some(event) = Event::parsed(raw) else {
            rejected.push(Rejected { index, reason: "invalid" });
            continue;
        };
        let record = avro::record(&event, &connection);
        match producer.send_result(FutureRecord::to(record.topic).key(&record.key).payload(&record.value)) {
            Ok(delivery) => deliveries.push(delivery),
            Err(_) => return refused(StatusCode::SERVICE_UNAVAILABLE, "busy"),
        }
    }
    let accepted = deliveries.len();
    for delivery in deliveries {
        if !matches!(delivery.await, Ok(Ok(_))) {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "not_stored");
        }
    }
    json(StatusCode::OK, serde_json::to_string(&Answer { accepted, rejected }).expect("an answer is JSON"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [port, bootstrap] = args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "collector PORT BOOTSTRAP")?;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()?;
    let app = Router::new()
        .route("/v1/events", post(collect))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(producer);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
