//! `/api/v1/audit`: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::api::{AuditList, AuditQuery};
use crate::domain::AuditId;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::store::AuditFilter;

use super::{Params, page, page_size};

pub(crate) async fn list(
    State(app): State<Arc<AppState>>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let size = page_size(query.limit)?;
    let filter = AuditFilter {
        since: query.since,
        until: query.until,
        account: query.account,
        object: query.object,
        action: query.action,
        before: query.cursor.map(AuditId),
        limit: size + 1,
    };
    let (entries, next) = page(app.services.audit.list(&filter).await?, size, |it| it.id.0);
    Ok(Json(AuditList { entries: entries.into_iter().map(Into::into).collect(), next }))
}
