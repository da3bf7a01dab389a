//! Handler of `/api/v1/audit`, which lists the entries of the audit log. It never changes an entry.

use std::sync::Arc;

use axum::extract::State;

use crate::api::{AuditList, AuditQuery};
use crate::domain::AuditId;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;
use crate::store::AuditFilter;

use super::{Params, page_size, truncate_to_page};

/// Answers `GET /audit`.
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
    let entries = app.services.audit.list(&filter).await?;
    let (entries, next) = truncate_to_page(entries, size, |entry| entry.id.0);
    Ok(Json(AuditList { entries: entries.into_iter().map(Into::into).collect(), next }))
}
