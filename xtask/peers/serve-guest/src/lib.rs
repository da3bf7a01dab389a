//! A component of the world `wasi:http/proxy` that answers Create Defect and Defect KPIs.

extern crate alloc;

#[path = "../../work.rs"]
mod work;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Webhooks;

wasip2::http::proxy::export!(Webhooks);

impl wasip2::exports::http::incoming_handler::Guest for Webhooks {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let project = path.strip_suffix("/defectstatus").and_then(|path| path.rsplit('/').next());
        let json = match project {
            Some(project) => work::count(project),
            None => read_body(&request).and_then(|body| work::create(&body)),
        };
        let headers = Fields::new();
        let _ = headers.set("content-type", &[b"application/json".to_vec()]);
        let response = OutgoingResponse::new(headers);
        let _ = response.set_status_code(if json.is_some() { 200 } else { 400 });
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        let _ = stream.blocking_write_and_flush(&json.unwrap_or_default());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn read_body(request: &IncomingRequest) -> Option<Vec<u8>> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    while let Ok(part) = stream.blocking_read(64 << 10) {
        bytes.extend(part);
    }
    Some(bytes)
}
