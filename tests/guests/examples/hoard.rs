//! Fills as many bytes of its own memory as the setting `fill` requires. Then makes the host store
//! data of the kind that the setting `what` chooses.

use jackfield_test_guests::*;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method as WasiMethod, OutgoingBody, OutgoingRequest, Scheme};

const SETTINGS: &str = r#"{"type":"object","properties":{"url":{"type":"string","format":"uri","jackfield:origin":true},"what":{"type":"string"},"fill":{"type":"string"},"key":{"type":"string","writeOnly":true,"jackfield:place":{"in":"header","name":"X-Api-Key"}}},"required":["url"],"additionalProperties":false}"#;

struct FillsMemory;

impl Behaviour for FillsMemory {
    const SETTINGS: &'static str = SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let bytes: usize = setting("fill").parse().unwrap_or(0);
        let filled = std::hint::black_box(vec![1_u8; bytes]);
        let result = match setting("what").as_str() {
            "answers" => request_many_answers(),
            "request" => send_large_request(&filled),
            "log" => log_long_lines(&filled),
            "unsent bodies" => fill_unsent_bodies(),
            "fields" => make_header_lists(),
            "methods" => make_long_methods(),
            "prints" => print_single_bytes(),
            other => format!("{other}?"),
        };
        std::hint::black_box(filled);
        Ok(Defect { description: Some(result), ..defect(&marker, "hoarded") })
    }
}

/// Sends thirty requests at once. Reads the bodies of the answers only after all answers have
/// arrived.
fn request_many_answers() -> String {
    let url = setting("url");
    let pending: Vec<_> = (0..30)
        .map(|n| {
            let request = make_outgoing_request(&url);
            request.set_path_with_query(Some(&format!("/{n}"))).unwrap();
            OutgoingBody::finish(request.body().unwrap(), None).unwrap();
            handle(request, None).unwrap()
        })
        .collect();
    let mut arrived = Vec::new();
    for answer in &pending {
        answer.subscribe().block();
        match answer.get().unwrap().unwrap() {
            Ok(answer) => arrived.push(answer),
            Err(why) => log::log(log::Level::Warn, &format!("{why:?}")),
        }
    }
    let mut read = 0;
    for answer in &arrived {
        let body = answer.consume().unwrap();
        let stream = body.stream().unwrap();
        while let Ok(part) = stream.blocking_read(1 << 16) {
            read += part.len();
        }
    }
    format!("{} answers, {read} bytes", arrived.len())
}

fn make_outgoing_request(url: &str) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(url.trim_start_matches("http://").trim_end_matches('/'))).unwrap();
    request
}

/// Sends one request. Its body is a copy of the filled memory, but has at most 32 MiB.
fn send_large_request(filled: &[u8]) -> String {
    let text = &filled[..filled.len().min(32 << 20)];
    let post = jackfield_test_guests::request(Method::Post, "/");
    let sent = Some(Body::Bytes(text.to_vec()));
    match http::send(&Request { effect: Some(Effect::Read), body: sent, ..post }) {
        Ok(answer) => format!("{} with {} bytes", answer.status, body(&answer).len()),
        Err(why) => format!("{why:?}"),
    }
}

fn log_long_lines(filled: &[u8]) -> String {
    for mib in [4, 20, 36] {
        log::log(log::Level::Info, std::str::from_utf8(&filled[..mib << 20]).unwrap());
    }
    "logged".to_owned()
}

/// Fills the bodies of 300 requests, and sends none of these requests.
fn fill_unsent_bodies() -> String {
    let mut kept = Vec::new();
    for _ in 0..300 {
        let request = make_outgoing_request("http://127.0.0.1:1");
        let body = request.body().unwrap();
        let stream = body.write().unwrap();
        while let Ok(bytes @ 1..) = stream.check_write() {
            if stream.write(&vec![b'x'; bytes as usize]).is_err() {
                break;
            }
        }
        kept.push((stream, body, request));
    }
    format!("{} bodies", kept.len())
}

/// Makes 950 lists of headers. Each list has nearly the maximum size.
fn make_header_lists() -> String {
    let (mut kept, value) = (Vec::new(), vec![b'x'; 1_000]);
    for _ in 0..950 {
        let fields = Fields::new();
        (0..15).for_each(|_| fields.append("x-flood", &value).unwrap());
        kept.push(fields);
    }
    format!("{} lists", kept.len())
}

/// Makes 400 requests. The method of each request has 3 MiB.
fn make_long_methods() -> String {
    let (mut kept, name) = (Vec::new(), "X".repeat(3 << 20));
    for _ in 0..400 {
        let request = make_outgoing_request("http://127.0.0.1:1");
        request.set_method(&WasiMethod::Other(name.clone())).unwrap();
        kept.push(request);
    }
    format!("{} requests", kept.len())
}

/// Writes 1 MiB to stdout in one line. Each write has one byte.
fn print_single_bytes() -> String {
    let stdout = wasip2::cli::stdout::get_stdout();
    let mut written = 0;
    for _ in 0..1 << 20 {
        written += u32::from(stdout.blocking_write_and_flush(b"x").is_ok());
    }
    format!("{written} bytes")
}

guest!(FillsMemory);
