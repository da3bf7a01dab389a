//! Answers requests from recorded exchanges: the first unused exchange with the same method, URL
//! and body answers a request. In a replay of an event, a similar exchange may answer too. Never
//! sends a request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::Effect;

use super::{
    HttpError, NoAnswer, RecordingError, TapeError, TapedAnswer, TapedOutcome, TapedRequest, folder,
};

/// An error shows at most this number of bytes before and after a difference.
const CONTEXT_BYTES: usize = 30;

/// The recorded exchanges of a folder or an event. Clones share them.
#[derive(Clone, Default)]
pub struct Recording(Arc<[RecordedExchange]>);

/// Answers requests from a recording.
#[derive(Default)]
pub struct Replay {
    state: Mutex<ReplayState>,
}

struct RecordedExchange {
    file_name: String,
    request: TapedRequest,
    outcome: TapedOutcome,
}

/// The reply to a replayed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A complete answer.
    Answer(TapedAnswer),
    /// No answer, for this reason.
    NoAnswer(NoAnswer),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReplayResult {
    Reply(Reply),
    /// The recorded exchange failed.
    Failed(HttpError),
}

/// A request of a replay. Its secrets are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentRequest {
    /// The HTTP method.
    pub method: String,
    /// The complete address.
    pub url: String,
    /// The body.
    pub body: Bytes,
    /// The effect that the request may have in the tracker.
    pub effect: Effect,
    /// The recorded answer, if there is one.
    pub recorded_answer: Option<TapedAnswer>,
}

/// A request of a replay and the recorded request that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The request of the replay. `None` if the replay did not send the recorded request.
    pub sent_request: Option<TapedRequest>,
    /// The recorded request. `None` if no exchange answered the request of the replay.
    pub recorded_request: Option<TapedRequest>,
    /// The status of the recorded answer, if there is one.
    pub recorded_status: Option<u16>,
}

#[derive(Default)]
struct ReplayState {
    recording: Recording,
    replacements: BTreeMap<usize, Reply>,
    /// Whether an exchange that has only the same method and path may also answer a request.
    accepts_similar: bool,
    sent_requests: Vec<SentRequest>,
    /// Each request, and the index of the exchange that answered it (`None`: no exchange).
    matched_exchanges: Vec<(TapedRequest, Option<usize>)>,
    used_indices: Vec<usize>,
    first_unanswered_error: Option<TapeError>,
}

impl Recording {
    /// Reads the exchanges of a folder.
    ///
    /// # Errors
    /// The folder cannot be used as a recording.
    pub fn read(folder: &Path) -> Result<Self, RecordingError> {
        let exchanges = folder::read_exchanges(folder)?.into_iter();
        let exchange =
            |(file_name, request, outcome)| RecordedExchange { file_name, request, outcome };
        Ok(Self(exchanges.map(exchange).collect()))
    }
}

impl Replay {
    /// Creates a replay of the exchanges of a recorded run. Each exchange is a JSON text in the
    /// format of a tape. If no unused exchange has the method, URL and body of a request, the most
    /// similar unused exchange with the same method and path answers the request.
    ///
    /// # Errors
    /// A text is not an exchange.
    pub fn from_event_exchanges(exchanges: &[String]) -> Result<Arc<Self>, RecordingError> {
        let recorded = exchanges.iter().zip(1..).map(|(text, number)| {
            let file_name = format!("{number:04}.json");
            let path = PathBuf::from(&file_name);
            let exchange = folder::parse_exchange(text);
            let (request, outcome) =
                exchange.map_err(|source| RecordingError::NotAnExchange { path, source })?;
            Ok(RecordedExchange { file_name, request, outcome })
        });
        let recording = Recording(recorded.collect::<Result<_, RecordingError>>()?);
        let state = ReplayState { recording, accepts_similar: true, ..ReplayState::default() };
        Ok(Arc::new(Self { state: Mutex::new(state) }))
    }

    /// Compares the requests since the run began with the recorded requests. The recorded requests
    /// that were not sent are last.
    #[must_use]
    pub fn compare(&self) -> Vec<Comparison> {
        let state = self.state.lock();
        let status = |exchange: &RecordedExchange| match &exchange.outcome {
            TapedOutcome::Answer(answer) => Some(answer.status),
            TapedOutcome::Failure(_) => None,
        };
        let sent = state.matched_exchanges.iter().map(|(request, index)| {
            let exchange = index.and_then(|index| state.recording.0.get(index));
            Comparison {
                sent_request: Some(request.clone()),
                recorded_request: exchange.map(|exchange| exchange.request.clone()),
                recorded_status: exchange.and_then(status),
            }
        });
        let exchanges = state.recording.0.iter().enumerate();
        let missing = exchanges.filter(|(index, _)| !state.used_indices.contains(index));
        let missing = missing.map(|(_, exchange)| Comparison {
            sent_request: None,
            recorded_request: Some(exchange.request.clone()),
            recorded_status: status(exchange),
        });
        sent.chain(missing).collect()
    }

    /// Creates a replay of the exchanges of a folder.
    ///
    /// # Errors
    /// The errors of [`Recording::read`].
    pub fn read(folder: &Path) -> Result<Self, RecordingError> {
        let replay = Self::default();
        replay.start_run(&Recording::read(folder)?, BTreeMap::new());
        Ok(replay)
    }

    /// Begins a run, in which all exchanges are unused again. `replacements` are the replies that
    /// requests get instead of the recorded answers, by the number of the request, from 0.
    pub fn start_run(&self, recording: &Recording, replacements: BTreeMap<usize, Reply>) {
        *self.state.lock() =
            ReplayState { recording: recording.clone(), replacements, ..ReplayState::default() };
    }

    /// Returns the requests since the run began, in their order.
    #[must_use]
    pub fn sent_requests(&self) -> Vec<SentRequest> {
        self.state.lock().sent_requests.clone()
    }

    /// Returns the names of the files whose exchanges were not used.
    ///
    /// # Errors
    /// At least one request matched no unused exchange of the recording.
    pub fn unused_files(&self) -> Result<Vec<String>, TapeError> {
        let state = self.state.lock();
        if let Some(error) = &state.first_unanswered_error {
            return Err(error.clone());
        }
        let exchanges = state.recording.0.iter().enumerate();
        let unused = exchanges.filter(|(index, _)| !state.used_indices.contains(index));
        Ok(unused.map(|(_, exchange)| exchange.file_name.clone()).collect())
    }

    /// Returns the recorded answer or failure, or the reply that replaces it.
    ///
    /// # Errors
    /// No exchange answers this request.
    pub(super) fn answer(
        &self,
        request: &TapedRequest,
        effect: Effect,
    ) -> Result<ReplayResult, TapeError> {
        let mut state = self.state.lock();
        let found_index = state.find_exchange(request);
        let recorded = found_index.and_then(|index| state.recording.0.get(index));
        let outcome = recorded.map(|exchange| exchange.outcome.clone());
        let recorded = match &outcome {
            Some(TapedOutcome::Answer(answer)) => Some(answer.clone()),
            Some(TapedOutcome::Failure(_)) | None => None,
        };
        let number = state.sent_requests.len();
        state.matched_exchanges.push((request.clone(), found_index));
        let TapedRequest { method, url, body, .. } = request.clone();
        state.sent_requests.push(SentRequest {
            method,
            url,
            body,
            effect,
            recorded_answer: recorded,
        });
        let (Some(index), Some(outcome)) = (found_index, outcome) else {
            let why = TapeError(state.explain_unanswered(request));
            state.first_unanswered_error.get_or_insert_with(|| why.clone());
            return Err(why);
        };
        state.used_indices.push(index);
        Ok(match (state.replacements.remove(&number), outcome) {
            (Some(reply), _) => ReplayResult::Reply(reply),
            (None, TapedOutcome::Answer(answer)) => ReplayResult::Reply(Reply::Answer(answer)),
            (None, TapedOutcome::Failure(error)) => ReplayResult::Failed(error),
        })
    }
}

impl ReplayState {
    fn find_exchange(&self, request: &TapedRequest) -> Option<usize> {
        self.find_equal_exchange(request).or_else(|| self.find_similar_exchange(request))
    }

    fn find_similar_exchange(&self, request: &TapedRequest) -> Option<usize> {
        if !self.accepts_similar {
            return None;
        }
        let exchanges = self.recording.0.iter().enumerate();
        let similar = exchanges.filter(|(index, exchange)| {
            let recorded = &exchange.request;
            !self.used_indices.contains(index)
                && recorded.method == request.method
                && path_of(recorded) == path_of(request)
        });
        let nearest = similar.max_by_key(|(index, exchange)| {
            (similarity(&exchange.request, request), usize::MAX - index)
        });
        nearest.map(|(index, _)| index)
    }

    fn find_equal_exchange(&self, request: &TapedRequest) -> Option<usize> {
        let mut exchanges = self.recording.0.iter().enumerate();
        let is_equal = |(index, exchange): &(usize, &RecordedExchange)| {
            let recorded = &exchange.request;
            !self.used_indices.contains(index)
                && (&recorded.method, &recorded.url, &recorded.body)
                    == (&request.method, &request.url, &request.body)
        };
        exchanges.find(is_equal).map(|(index, _)| index)
    }

    fn explain_unanswered(&self, request: &TapedRequest) -> String {
        let problem = format!("no recorded exchange answers {} {}", request.method, request.url);
        let exchanges = self.recording.0.iter().enumerate();
        let nearest = exchanges.max_by_key(|(index, exchange)| {
            // The last element prefers the first of several equally similar exchanges.
            (
                !self.used_indices.contains(index),
                similarity(&exchange.request, request),
                usize::MAX - index,
            )
        });
        match nearest {
            Some((index, exchange)) if !self.used_indices.contains(&index) => {
                let difference = describe_difference(&exchange.request, request);
                format!("{problem}; the nearest is {}, {difference}", exchange.file_name)
            }
            _ => format!(
                "{problem}: all {} recorded exchanges were used; the call sends more requests than \
                 were recorded",
                self.recording.0.len()
            ),
        }
    }
}

/// A larger value means more similar requests.
fn similarity(one: &TapedRequest, other: &TapedRequest) -> (bool, bool, bool, usize) {
    let common = common_prefix_len(one.url.as_bytes(), other.url.as_bytes())
        + common_prefix_len(&one.body, &other.body);
    (one.method == other.method, path_of(one) == path_of(other), one.url == other.url, common)
}

/// Returns the URL of a request without its query.
fn path_of(request: &TapedRequest) -> Option<&str> {
    request.url.split('?').next()
}

fn describe_difference(recorded: &TapedRequest, sent: &TapedRequest) -> String {
    let (part, recorded, sent) = if recorded.method != sent.method {
        ("method", recorded.method.as_bytes(), sent.method.as_bytes())
    } else if recorded.url != sent.url {
        ("URL", recorded.url.as_bytes(), sent.url.as_bytes())
    } else {
        ("body", &recorded.body[..], &sent.body[..])
    };
    let first_difference = common_prefix_len(recorded, sent);
    let excerpt_of = |bytes: &[u8]| {
        let from = first_difference.saturating_sub(CONTEXT_BYTES);
        let to = bytes.len().min(first_difference + CONTEXT_BYTES);
        let excerpt = String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default()).into_owned();
        let (before, after) =
            (if from > 0 { "…" } else { "" }, if to < bytes.len() { "…" } else { "" });
        format!("`{before}{excerpt}{after}`")
    };
    format!(
        "whose {part} differs at byte {first_difference}: recorded {}, sent {}",
        excerpt_of(recorded),
        excerpt_of(sent)
    )
}

fn common_prefix_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, url: &str, body: &str) -> TapedRequest {
        let (method, url) = (method.to_owned(), format!("https://t.example{url}"));
        TapedRequest { method, url, headers: Vec::new(), body: body.to_owned().into() }
    }

    fn replay_of(requests: &[TapedRequest]) -> Replay {
        let exchanges = requests.iter().zip(200..).map(|(request, status)| RecordedExchange {
            file_name: format!("{status}.json"),
            request: request.clone(),
            outcome: TapedOutcome::Answer(TapedAnswer {
                status,
                headers: Vec::new(),
                body: "".into(),
            }),
        });
        let replay = Replay::default();
        replay.start_run(&Recording(exchanges.collect()), BTreeMap::new());
        replay
    }

    /// Returns the status of the answer to this request.
    fn status(replay: &Replay, request: &TapedRequest) -> Result<u16, TapeError> {
        replay.answer(request, Effect::Read).map(|result| match result {
            ReplayResult::Reply(Reply::Answer(answer)) => answer.status,
            ReplayResult::Reply(Reply::NoAnswer(why)) => panic!("{why}"),
            ReplayResult::Failed(error) => panic!("{error}"),
        })
    }

    #[test]
    fn equal_requests_are_answered_in_their_order_and_each_answer_is_used_once() {
        let (poll, other) = (request("GET", "/state", ""), request("GET", "/other", ""));
        let replay = replay_of(&[poll.clone(), other, poll.clone()]);
        let status = |request| status(&replay, request);
        assert_eq!((status(&poll), status(&poll)), (Ok(200), Ok(202)));
        assert_eq!(replay.unused_files(), Ok(vec!["201.json".to_owned()]));
        assert!(status(&poll).is_err_and(|why| why.0.contains("201.json")));
        assert!(replay.unused_files().is_err());
    }

    #[test]
    fn the_error_for_an_unanswered_request_names_the_most_similar_exchange_and_the_difference() {
        let replay = replay_of(&[
            request("GET", "/issues", ""),
            request("POST", "/users", "{}"),
            request("POST", "/issues", "{\"subject\":\"old\"}"),
        ]);
        for (sent, file, words) in [
            (request("POST", "/issues", "{\"subject\":\"new\"}"), "202.json", "byte 12: recorded"),
            (request("POST", "/issues?a=1", "{\"subject\":\"old\"}"), "202.json", "URL"),
            (request("GET", "/issues/1", ""), "200.json", "URL"),
            (request("PUT", "/users", "{}"), "201.json", "method"),
        ] {
            let why = replay.answer(&sent, Effect::Read).unwrap_err();
            assert!(why.0.contains(file) && why.0.contains(words), "{why}");
        }
    }

    #[test]
    fn a_changed_request_gets_the_most_similar_answer_and_all_requests_are_compared() {
        let recorded = [
            request("GET", "/issues?page=1", ""),
            request("POST", "/issues", "{\"a\":1}"),
            request("POST", "/issues", "{\"b\":1}"),
            request("GET", "/gone", ""),
        ];
        let texts: Vec<_> = recorded
            .iter()
            .zip(200..)
            .map(|(request, status)| {
                let answer = TapedAnswer { status, headers: Vec::new(), body: "".into() };
                folder::exchange_text(request.clone(), TapedOutcome::Answer(answer))
            })
            .collect();
        let replay = Replay::from_event_exchanges(&texts).unwrap();
        let sent = [
            request("POST", "/issues", "{\"b\":2}"),
            request("GET", "/issues?page=1", ""),
            request("GET", "/new", ""),
        ];
        assert_eq!(status(&replay, &sent[0]), Ok(202));
        assert_eq!(status(&replay, &sent[1]), Ok(200));
        assert!(status(&replay, &sent[2]).is_err());
        let compared: Vec<_> = replay
            .compare()
            .into_iter()
            .map(|compared| {
                let recorded_body = compared.recorded_request.map(|request| request.body);
                (compared.sent_request.is_some(), recorded_body, compared.recorded_status)
            })
            .collect();
        let body = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            compared,
            [
                (true, body("{\"b\":1}"), Some(202)),
                (true, body(""), Some(200)),
                (true, None, None),
                (false, body("{\"a\":1}"), Some(201)),
                (false, body(""), Some(203)),
            ]
        );
        assert!(Replay::from_event_exchanges(&["{}".to_owned()]).is_err());
    }

    #[test]
    fn an_exchange_with_a_replaced_answer_is_used_and_the_next_run_may_use_all_exchanges() {
        let (poll, other) = (request("GET", "/state", ""), request("GET", "/other", ""));
        let replay = replay_of(&[poll.clone(), poll.clone()]);
        let recording = replay.state.lock().recording.clone();
        let cut = Reply::NoAnswer(NoAnswer::Interrupted);
        replay.start_run(&recording, BTreeMap::from([(0, cut.clone())]));
        assert_eq!(replay.answer(&poll, Effect::Read), Ok(ReplayResult::Reply(cut)));
        assert_eq!(status(&replay, &poll), Ok(201));
        assert!(replay.answer(&other, Effect::Write).is_err());
        let sent = replay.sent_requests();
        let answered: Vec<_> = sent
            .iter()
            .map(|request| request.recorded_answer.as_ref().map(|answer| answer.status))
            .collect();
        assert_eq!(answered, [Some(200), Some(201), None]);
        assert_eq!((sent[2].effect, sent[2].url.as_str()), (Effect::Write, other.url.as_str()));
        replay.start_run(&recording, BTreeMap::new());
        assert_eq!((status(&replay, &poll), replay.sent_requests().len()), (Ok(200), 1));
    }
}
