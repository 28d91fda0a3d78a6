//! An event as a record: topic, key, and value in the Confluent wire format, its Avro written by hand.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::events::{Application, Event, Page};

const SITE: &str = "dev";
const EDGE_KEY: [u8; 32] = [7; 32];
const MS_A_DAY: i64 = 86_400_000;

/// What an event's record says of the request that it came with.
pub struct Connection<'a> {
    pub session: &'a str,
    pub ip: &'a str,
    pub user_agent: &'a str,
    pub received_at: i64,
}

pub struct Record {
    pub topic: &'static str,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// A datum as it grows, after the five bytes that name its schema.
struct Datum(Vec<u8>);

impl Datum {
    fn of(schema: u8) -> Self {
        let mut value = Vec::with_capacity(256);
        value.extend([0, 0, 0, 0, schema]);
        Self(value)
    }

    fn long(mut self, number: i64) -> Self {
        let mut rest = ((number << 1) ^ (number >> 63)) as u64;
        while rest > 0x7f {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
        self
    }

    fn text(mut self, text: &str) -> Self {
        self = self.long(text.len() as i64);
        self.0.extend(text.as_bytes());
        self
    }

    fn texts(self, texts: &[&str]) -> Self {
        texts.iter().fold(self, |datum, text| datum.text(text))
    }

    fn doubles(mut self, numbers: &[f64]) -> Self {
        if !numbers.is_empty() {
            self = self.long(numbers.len() as i64);
            self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        self.long(0)
    }
}

pub fn record(event: &Event, at: &Connection) -> Record {
    match event {
        Event::Pointer { t, x, y, .. } => signal("pointer", event, at, [t, x, y, &[], &[], &[]]),
        Event::Scroll { t, x, y, .. } => signal("scroll", event, at, [t, x, y, &[], &[], &[]]),
        Event::Key { t_down, t_up, .. } => signal("key", event, at, [t_down, &[], &[], &[], &[], t_up]),
        Event::Touch { t, x, y, force, .. } => signal("touch", event, at, [t, x, y, &[], force, &[]]),
        Event::Gyroscope { t, x, y, z, .. } => signal("gyroscope", event, at, [t, x, y, z, &[], &[]]),
        Event::Accelerometer { t, x, y, z, .. } => signal("accelerometer", event, at, [t, x, y, z, &[], &[]]),
        Event::ImageLabel { task, answer, .. } => label("image_label", task, answer, at),
        Event::AudioTranscript { task, answer, .. } => label("audio_transcript", task, answer, at),
        Event::TextAnswer { task, answer, .. } => label("text_answer", task, answer, at),
        Event::PageView(page) => analytics("page_view", page, at),
        Event::Usage(page) => analytics("usage", page, at),
        Event::Contact { account, role, name, email, country, .. } => {
            personal("contact", event, account, [role, name, email, country, "", "", ""], at)
        }
        Event::IdentityCheck { account, provider, method, outcome, .. } => {
            personal("identity_check", event, account, ["", "", "", "", provider, method, outcome], at)
        }
        Event::LabelerApplication(application) => labeler(application, at),
    }
}

fn signal(kind: &str, event: &Event, at: &Connection, arrays: [&[f64]; 6]) -> Record {
    let (id, ts) = event.common();
    let datum = Datum::of(10).texts(&[id, SITE, at.session, kind]).long(ts).long(at.received_at).long(0);
    let value = arrays.into_iter().fold(datum, Datum::doubles).0;
    Record { topic: "events.signals", key: at.session.into(), value }
}

fn label(kind: &str, task: &str, answer: &str, at: &Connection) -> Record {
    let mut mac = Hmac::<Sha256>::new_from_slice(&EDGE_KEY).expect("a key may have any length");
    mac.update(at.session.as_bytes());
    let voter = mac.finalize().into_bytes().to_vec();
    let mut datum = Datum::of(22);
    datum.0.extend(&voter);
    let value = datum.long(at.received_at / MS_A_DAY).long(0).texts(&[kind, task, answer]).0;
    Record { topic: "events.labeled", key: voter, value }
}

fn analytics(kind: &str, page: &Page, at: &Connection) -> Record {
    let properties = serde_json::to_string(&page.properties).expect("it was JSON");
    let value = Datum::of(11)
        .texts(&[&page.id, SITE, at.session, kind])
        .long(page.ts)
        .long(at.received_at)
        .long(0)
        .texts(&[at.ip, at.user_agent, &page.url, &page.referrer, &properties])
        .0;
    Record { topic: "events.analytics", key: at.session.into(), value }
}

fn personal(kind: &str, event: &Event, account: &str, fields: [&str; 7], at: &Connection) -> Record {
    let (id, ts) = event.common();
    let datum = Datum::of(12).texts(&[id, SITE, account, kind]).long(ts).long(at.received_at).long(0);
    Record { topic: "events.personal", key: account.into(), value: datum.texts(&fields).0 }
}

fn labeler(from: &Application, at: &Connection) -> Record {
    let mut datum = Datum::of(13).texts(&[&from.id, SITE]).long(from.ts).long(at.received_at).long(0);
    datum = datum.texts(&[&from.name, &from.email, &from.country]);
    if !from.languages.is_empty() {
        datum = datum.long(from.languages.len() as i64);
    }
    datum = from.languages.iter().fold(datum, |datum, language| datum.text(language)).long(0).text(&from.note);
    Record { topic: "events.labelers", key: from.id.as_str().into(), value: datum.0 }
}
