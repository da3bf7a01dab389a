//! Answers Create Defect and Defect KPIs without a sandbox, a store or authentication:
//! `native ADDRESS`.

extern crate alloc;

#[path = "../../work.rs"]
mod work;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

/// The same allocator as in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cores()).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let kpis_route = "/api/kpis/project/{project}/defectstatus";
        let app = Router::new().route("/defects", post(create)).route(kpis_route, get(count));
        axum::serve(listener, app).await
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn create(body: Bytes) -> Response {
    answer(work::create(&body))
}

async fn count(Path(project): Path<String>) -> Response {
    answer(work::count(&project))
}

fn answer(json: Option<Vec<u8>>) -> Response {
    match json {
        Some(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}
