//! Answers requests from the exchanges of a folder. A request is answered by the first exchange of
//! the same method, URL and body that was not used yet.

use std::path::Path;

use parking_lot::Mutex;

use super::{NotUsable, TapeError, TapedAnswer, TapedRequest, folder};

/// How many bytes are shown on each side of a difference.
const AROUND_BYTES: usize = 30;

/// Answers from a recording.
pub struct Replay {
    exchanges: Vec<Recorded>,
    state: Mutex<State>,
}

struct Recorded {
    file: String,
    request: TapedRequest,
    answer: TapedAnswer,
}

#[derive(Default)]
struct State {
    /// The indices of the exchanges that were used.
    used: Vec<usize>,
    /// Why the first request without an exchange had none.
    missing: Option<TapeError>,
}

impl Replay {
    /// Reads the exchanges of a folder.
    ///
    /// # Errors
    /// The folder has none, or a file that is none.
    pub fn read(folder: &Path) -> Result<Self, NotUsable> {
        let exchanges = folder::read(folder)?.into_iter();
        let exchanges =
            exchanges.map(|(file, request, answer)| Recorded { file, request, answer }).collect();
        Ok(Self { exchanges, state: Mutex::default() })
    }

    /// The files of the exchanges that were not used.
    ///
    /// # Errors
    /// Why a request had no exchange.
    pub fn end(&self) -> Result<Vec<String>, TapeError> {
        let state = self.state.lock();
        if let Some(missing) = &state.missing {
            return Err(missing.clone());
        }
        let exchanges = self.exchanges.iter().enumerate();
        let unused = exchanges.filter(|(index, _)| !state.used.contains(index));
        Ok(unused.map(|(_, exchange)| exchange.file.clone()).collect())
    }

    /// Why no exchange answers this request: the nearest one, and how it differs.
    fn explain(&self, request: &TapedRequest, used: &[usize]) -> String {
        let what = format!("no recorded exchange answers {} {}", request.method, request.url);
        let exchanges = self.exchanges.iter().enumerate();
        let nearest = exchanges.max_by_key(|(index, exchange)| {
            // Of equal ones, the first.
            (!used.contains(index), likeness(&exchange.request, request), usize::MAX - index)
        });
        match nearest {
            Some((index, exchange)) if !used.contains(&index) => {
                let difference = difference(&exchange.request, request);
                format!("{what}; the nearest is {}, {difference}", exchange.file)
            }
            _ => format!(
                "{what}: all {} recorded exchanges were used; the call sends more requests than \
                 were recorded",
                self.exchanges.len()
            ),
        }
    }

    /// Returns the recorded answer to a request.
    ///
    /// # Errors
    /// No exchange answers this request; names the nearest one, and how it differs.
    pub(super) fn answer(&self, request: &TapedRequest) -> Result<TapedAnswer, TapeError> {
        let mut state = self.state.lock();
        let exchanges = self.exchanges.iter().enumerate();
        let mut fits = exchanges.filter(|(index, exchange)| {
            let it = &exchange.request;
            !state.used.contains(index)
                && (&it.method, &it.url, &it.body) == (&request.method, &request.url, &request.body)
        });
        if let Some((index, exchange)) = fits.next() {
            drop(fits);
            state.used.push(index);
            return Ok(exchange.answer.clone());
        }
        drop(fits);
        let why = TapeError(self.explain(request, &state.used));
        state.missing.get_or_insert_with(|| why.clone());
        Err(why)
    }
}

/// How much two requests have in common: a larger value is nearer.
fn likeness(one: &TapedRequest, other: &TapedRequest) -> (bool, bool, bool, usize) {
    let path = |request: &TapedRequest| request.url.split('?').next().map(str::to_owned);
    let common = common_prefix(one.url.as_bytes(), other.url.as_bytes())
        + common_prefix(&one.body, &other.body);
    (one.method == other.method, path(one) == path(other), one.url == other.url, common)
}

/// The first difference of a recorded request and the one that was sent.
fn difference(recorded: &TapedRequest, sent: &TapedRequest) -> String {
    let (what, recorded, sent) = if recorded.method != sent.method {
        ("method", recorded.method.as_bytes(), sent.method.as_bytes())
    } else if recorded.url != sent.url {
        ("URL", recorded.url.as_bytes(), sent.url.as_bytes())
    } else {
        ("body", &recorded.body[..], &sent.body[..])
    };
    let at = common_prefix(recorded, sent);
    let shown = |bytes: &[u8]| {
        let from = at.saturating_sub(AROUND_BYTES);
        let to = bytes.len().min(at + AROUND_BYTES);
        let part = String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default()).into_owned();
        let (before, after) =
            (if from > 0 { "…" } else { "" }, if to < bytes.len() { "…" } else { "" });
        format!("`{before}{part}{after}`")
    };
    format!("whose {what} differs at byte {at}: recorded {}, sent {}", shown(recorded), shown(sent))
}

fn common_prefix(one: &[u8], other: &[u8]) -> usize {
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
        let exchanges = requests.iter().zip(200..).map(|(request, status)| Recorded {
            file: format!("{status}.json"),
            request: request.clone(),
            answer: TapedAnswer { status, headers: Vec::new(), body: "".into() },
        });
        Replay { exchanges: exchanges.collect(), state: Mutex::default() }
    }

    #[test]
    fn equal_requests_are_answered_in_their_order_and_each_answer_is_used_once() {
        let (poll, other) = (request("GET", "/state", ""), request("GET", "/other", ""));
        let replay = replay_of(&[poll.clone(), other, poll.clone()]);
        let status = |request| replay.answer(request).map(|answer| answer.status);
        assert_eq!((status(&poll), status(&poll)), (Ok(200), Ok(202)));
        assert_eq!(replay.end(), Ok(vec!["201.json".to_owned()]));
        assert!(status(&poll).is_err_and(|why| why.0.contains("201.json")));
        assert!(replay.end().is_err());
    }

    #[test]
    fn a_request_without_an_exchange_names_the_nearest_and_the_difference() {
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
            let why = replay.answer(&sent).unwrap_err();
            assert!(why.0.contains(file) && why.0.contains(words), "{why}");
        }
    }
}
