//! Answers Create Defect and Defect KPIs with an Extism plugin: `extism-host ADDRESS PLUGIN.wasm`.
//! Each request gets a new instance of the plugin.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};

type PluginState = State<Arc<CompiledPlugin>>;

fn main() -> Result<(), extism::Error> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_default();
    let wasm = Wasm::data(std::fs::read(arguments.next().unwrap_or_default())?);
    let compiled = CompiledPlugin::new(PluginBuilder::new(Manifest::new([wasm])))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let kpis_route = "/api/kpis/project/{project}/defectstatus";
        let app = Router::new().route("/defects", post(create)).route(kpis_route, get(count));
        Ok(axum::serve(listener, app.with_state(Arc::new(compiled))).await?)
    })
}

async fn create(State(compiled): PluginState, body: Bytes) -> Response {
    answer(&compiled, "create", &body)
}

async fn count(State(compiled): PluginState, Path(project): Path<String>) -> Response {
    answer(&compiled, "count", project.as_bytes())
}

fn answer(compiled: &CompiledPlugin, function: &str, input: &[u8]) -> Response {
    let result = Plugin::new_from_compiled(compiled)
        .and_then(|mut plugin| plugin.call::<&[u8], &[u8]>(function, input).map(<[u8]>::to_vec));
    match result {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
