//! Sends a request of the interface `http` through wasi:http instead. Converts the errors of
//! wasi:http to the errors of the interface `http`.

use jackfield_test_guests::{Body, Effect, HttpError, Method, Request, Response, setting};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types as wasi;
use wasip2::io::streams::StreamError;

pub fn send(request: &Request) -> Result<Response, HttpError> {
    let outgoing = make_outgoing_request(request)?;
    let body = outgoing.body().expect("the body is taken once");
    let pending = handle(outgoing, None).map_err(convert_error)?;
    if let Some(Body::Bytes(bytes)) = &request.body {
        let stream = body.write().expect("the stream is taken once");
        for chunk in bytes.chunks(4096) {
            stream
                .blocking_write_and_flush(chunk)
                .map_err(|e| HttpError::Limit(format!("{e:?}")))?;
        }
    }
    wasi::OutgoingBody::finish(body, None).map_err(convert_error)?;
    pending.subscribe().block();
    let answer = pending
        .get()
        .expect("the answer is ready")
        .expect("the answer is taken once")
        .map_err(convert_error)?;
    let headers = answer.headers().entries().into_iter();
    let headers =
        headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect();
    let (url, text) = (request.url.clone(), None);
    Ok(Response { status: answer.status(), url, headers, text, bytes: read_body(&answer)? })
}

/// Converts a request of the interface `http` to a request of wasi:http, without its body.
fn make_outgoing_request(request: &Request) -> Result<wasi::OutgoingRequest, HttpError> {
    let invalid = |what: &str| HttpError::Invalid(what.to_owned());
    let mut headers: Vec<_> =
        request.headers.iter().map(|(n, v)| (n.clone(), v.clone().into_bytes())).collect();
    if let Some(effect) = request.effect {
        let word = match effect {
            Effect::Read => "read",
            Effect::Prepare => "prepare",
            Effect::Write => "write",
        };
        headers.push(("jackfield-effect".to_owned(), word.into()));
    }
    let fields =
        wasi::Fields::from_list(&headers).map_err(|e| HttpError::Denied(format!("{e:?}")))?;
    let outgoing = wasi::OutgoingRequest::new(fields);
    let method = if setting("method") == "CONNECT" {
        wasi::Method::Connect
    } else {
        convert_method(request.method)
    };
    outgoing.set_method(&method).map_err(|()| invalid("method"))?;
    let (scheme, rest) = request.url.split_once("://").ok_or_else(|| invalid("no scheme"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let scheme = if scheme == "https" { wasi::Scheme::Https } else { wasi::Scheme::Http };
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| invalid("authority"))?;
    outgoing.set_path_with_query(Some(path)).map_err(|()| invalid("path"))?;
    Ok(outgoing)
}

fn convert_method(method: Method) -> wasi::Method {
    match method {
        Method::Get => wasi::Method::Get,
        Method::Head => wasi::Method::Head,
        Method::Options => wasi::Method::Options,
        Method::Post => wasi::Method::Post,
        Method::Put => wasi::Method::Put,
        Method::Patch => wasi::Method::Patch,
        Method::Delete => wasi::Method::Delete,
    }
}

fn read_body(answer: &wasi::IncomingResponse) -> Result<Vec<u8>, HttpError> {
    let body = answer.consume().expect("the answer is consumed once");
    let stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(65_536) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(error) => return Err(HttpError::Interrupted(format!("{error:?}"))),
        }
    }
}

/// The text of an internal error contains the host's reason.
fn convert_error(code: wasi::ErrorCode) -> HttpError {
    let why = format!("{code:?}");
    match code {
        wasi::ErrorCode::HttpRequestDenied => HttpError::Denied(why),
        wasi::ErrorCode::InternalError(Some(text)) if text.contains("limits.") => {
            HttpError::Limit(text)
        }
        wasi::ErrorCode::InternalError(_) => HttpError::Invalid(why),
        wasi::ErrorCode::HttpRequestUriInvalid => HttpError::Invalid(why),
        wasi::ErrorCode::DestinationUnavailable => HttpError::Unreachable(why),
        _ => HttpError::Interrupted(why),
    }
}
