//! The wire: a batch, and each of its events with its bounds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

const EVENTS_MAX: usize = 500;
const SAMPLES_MAX: usize = 1_024;
const TEXT_MAX: usize = 256;
const LONG_TEXT_MAX: usize = 32_768;
const TS_MAX: i64 = 253_402_300_799_999;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch<'a> {
    #[serde(rename = "sent_at")]
    _sent_at: Option<i64>,
    pub session: String,
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    Pointer { id: String, ts: i64, t: Vec<f64>, x: Vec<f64>, y: Vec<f64> },
    Scroll { id: String, ts: i64, t: Vec<f64>, x: Vec<f64>, y: Vec<f64> },
    Key { id: String, ts: i64, t_down: Vec<f64>, t_up: Vec<f64> },
    Touch { id: String, ts: i64, t: Vec<f64>, x: Vec<f64>, y: Vec<f64>, force: Vec<f64> },
    Gyroscope { id: String, ts: i64, t: Vec<f64>, x: Vec<f64>, y: Vec<f64>, z: Vec<f64> },
    Accelerometer { id: String, ts: i64, t: Vec<f64>, x: Vec<f64>, y: Vec<f64>, z: Vec<f64> },
    ImageLabel { id: String, ts: i64, task: String, answer: String },
    AudioTranscript { id: String, ts: i64, task: String, answer: String },
    TextAnswer { id: String, ts: i64, task: String, answer: String },
    PageView(Page),
    Usage(Page),
    Contact { id: String, ts: i64, account: String, role: String, name: String, email: String, country: String },
    IdentityCheck { id: String, ts: i64, account: String, provider: String, method: String, outcome: String },
    LabelerApplication(Application),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    pub id: String,
    pub ts: i64,
    pub url: String,
    #[serde(default)]
    pub referrer: String,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    pub id: String,
    pub ts: i64,
    pub name: String,
    pub email: String,
    pub country: String,
    #[serde(default)]
    pub languages: Vec<String>,
    #[serde(default)]
    pub note: String,
}

impl<'a> Batch<'a> {
    /// None for what is no batch.
    pub fn parsed(body: &'a [u8]) -> Option<Self> {
        let batch: Self = serde_json::from_slice(body).ok()?;
        (is_name(&batch.session, 64) && batch.events.len() <= EVENTS_MAX).then_some(batch)
    }
}

impl Event {
    /// None for what is no event, or one that is out of bounds.
    pub fn parsed(raw: &RawValue) -> Option<Self> {
        let event: Self = serde_json::from_str(raw.get()).ok()?;
        let (id, ts) = event.common();
        (is_name(id, 100) && (0..=TS_MAX).contains(&ts) && event.within_bounds()).then_some(event)
    }

    pub fn common(&self) -> (&str, i64) {
        match self {
            Self::Pointer { id, ts, .. }
            | Self::Scroll { id, ts, .. }
            | Self::Key { id, ts, .. }
            | Self::Touch { id, ts, .. }
            | Self::Gyroscope { id, ts, .. }
            | Self::Accelerometer { id, ts, .. }
            | Self::ImageLabel { id, ts, .. }
            | Self::AudioTranscript { id, ts, .. }
            | Self::TextAnswer { id, ts, .. }
            | Self::PageView(Page { id, ts, .. })
            | Self::Usage(Page { id, ts, .. })
            | Self::Contact { id, ts, .. }
            | Self::IdentityCheck { id, ts, .. }
            | Self::LabelerApplication(Application { id, ts, .. }) => (id, *ts),
        }
    }

    fn within_bounds(&self) -> bool {
        let texts = |all: &[&String]| all.iter().all(|text| is_text(text, TEXT_MAX));
        match self {
            Self::Pointer { t, x, y, .. } | Self::Scroll { t, x, y, .. } => are_samples(&[t, x, y]),
            Self::Key { t_down, t_up, .. } => are_samples(&[t_down, t_up]),
            Self::Touch { t, x, y, force: z, .. }
            | Self::Gyroscope { t, x, y, z, .. }
            | Self::Accelerometer { t, x, y, z, .. } => are_samples(&[t, x, y, z]),
            Self::ImageLabel { task, answer, .. }
            | Self::AudioTranscript { task, answer, .. }
            | Self::TextAnswer { task, answer, .. } => is_name(task, 128) && is_text(answer, LONG_TEXT_MAX),
            Self::PageView(page) | Self::Usage(page) => {
                is_text(&page.url, LONG_TEXT_MAX) && is_text(&page.referrer, LONG_TEXT_MAX)
            }
            Self::Contact { account, role, name, email, country, .. } => {
                texts(&[account, role, name, country]) && is_email(email)
            }
            Self::IdentityCheck { account, provider, method, outcome, .. } => {
                texts(&[account, provider, method, outcome])
            }
            Self::LabelerApplication(Application { name, email, country, languages, note, .. }) => {
                texts(&[name, country])
                    && is_email(email)
                    && languages.iter().all(|text| is_text(text, TEXT_MAX))
                    && is_text(note, LONG_TEXT_MAX)
            }
        }
    }
}

fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

fn is_text(text: &str, most: usize) -> bool {
    text.len() <= most || text.chars().count() <= most
}

fn is_email(text: &str) -> bool {
    let part = |part: &str, most| {
        (1..=most).contains(&part.chars().count()) && !part.contains(|c: char| c == '@' || c.is_whitespace())
    };
    text.split_once('@').is_some_and(|(name, host)| part(name, 64) && part(host, 255))
}

fn are_samples(arrays: &[&Vec<f64>]) -> bool {
    (1..=SAMPLES_MAX).contains(&arrays[0].len()) && arrays.iter().all(|array| array.len() == arrays[0].len())
}
