//! Routes that need an account. Each route is declared with the lowest role that may use it.
//!
//! This module also refuses changes that another site may have sent with a session's cookie (CSRF),
//! and records changes and refused requests in the audit log. It never identifies the account:
//! `auth` does that.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, patch, post, put};
use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::domain::{Account, Role};

use super::admin::{BODY_BYTES_MAX, BODY_TIMEOUT};
use super::admin::{defects, events};
use super::audit::Caller;
use super::problem::Problem;
use super::session::{self, Session};
use super::{AppState, audit, same_site};

/// To find the first field of a multipart form, the host stops reading after this number of bytes.
const FIRST_FIELD_BYTES_MAX: usize = 1_024;
/// Maximum time for which the first field of a multipart form is read.
const FIRST_FIELD_TIMEOUT: Duration = Duration::from_secs(30);

/// The rights that an account needs to use a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequiredRights {
    /// The lowest role that may use the route.
    role: Role,
    /// Whether the account must have the right to see all connections.
    needs_all_connections: bool,
}

pub(crate) const VIEWER: RequiredRights = RequiredRights::for_role(Role::Viewer);
pub(crate) const OPERATOR: RequiredRights = RequiredRights::for_role(Role::Operator);
pub(crate) const AUTHOR: RequiredRights = RequiredRights::for_role(Role::Author);
pub(crate) const ADMIN: RequiredRights = RequiredRights::for_role(Role::Admin);

impl RequiredRights {
    const fn for_role(role: Role) -> Self {
        Self { role, needs_all_connections: false }
    }

    pub(crate) const fn for_all_connections(self) -> Self {
        Self { needs_all_connections: true, ..self }
    }

    fn check(self, account: &Account) -> Result<(), Problem> {
        let Self { role, needs_all_connections } = self;
        if !account.may(role) {
            let own_role = account.role;
            let why = format!(
                "the request needs at least the role {role}; the account has the role {own_role}"
            );
            return Err(Problem::role_too_low(why));
        }
        if needs_all_connections && account.connections.is_some() {
            let why = format!(
                "the request needs the role {role} for all connections; the account is limited to some"
            );
            return Err(Problem::role_too_low(why));
        }
        Ok(())
    }
}

/// How a route answers a request that has no account.
#[derive(Debug, Clone, Copy)]
enum WithoutAccount {
    /// With a problem that has the status 401.
    Problem,
    /// With a redirect to the sign-in page.
    RedirectToSignIn,
}

/// A list of routes, each with the lowest role that may use it.
pub(crate) struct Routes {
    app: Arc<AppState>,
    without_account: WithoutAccount,
    router: Router<Arc<AppState>>,
}

/// A route of [`Routes`], with everything that its check needs.
#[derive(Clone)]
struct Route {
    app: Arc<AppState>,
    without_account: WithoutAccount,
    rights: RequiredRights,
    /// The path of the route, with the names of its parameters.
    path: &'static str,
    /// The name of the change in the audit log; `None` if the route changes nothing.
    action: Option<&'static str>,
}

/// A request that its account may send.
struct AdmittedRequest {
    request: Request,
    /// The name or id of the object in the path of the request, if there is one.
    object: Option<String>,
}

macro_rules! changing_methods {
    ($($name:ident)+) => {$(
        /// `action` is the name of the change in the audit log.
        pub(crate) fn $name<H, T>(
            self,
            path: &'static str,
            rights: RequiredRights,
            action: &'static str,
            handler: H,
        ) -> Self
        where
            H: Handler<T, Arc<AppState>>,
            T: 'static,
        {
            self.add(path, rights, Some(action), $name(handler))
        }
    )+};
}

impl Routes {
    pub(crate) fn for_api(app: &Arc<AppState>) -> Self {
        Self {
            app: Arc::clone(app),
            without_account: WithoutAccount::Problem,
            router: Router::new(),
        }
    }

    pub(crate) fn for_pages(app: &Arc<AppState>) -> Self {
        Self {
            app: Arc::clone(app),
            without_account: WithoutAccount::RedirectToSignIn,
            router: Router::new(),
        }
    }

    pub(crate) fn get<H, T>(self, path: &'static str, rights: RequiredRights, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.add(path, rights, None, get(handler))
    }

    /// Adds a route for POST that changes nothing: the request has its parameters in a body.
    pub(crate) fn post_without_change<H, T>(
        self,
        path: &'static str,
        rights: RequiredRights,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.add(path, rights, None, post(handler))
    }

    changing_methods!(post put patch delete);

    /// Adds a route for every method. `action` is the name of the change in the audit log.
    pub(crate) fn any<H, T>(
        mut self,
        path: &'static str,
        rights: RequiredRights,
        action: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        let route = self.new_route(path, rights, Some(action));
        self.router =
            self.router.route(path, any(handler).layer(from_fn_with_state(route, check_and_run)));
        self
    }

    fn add(
        mut self,
        path: &'static str,
        rights: RequiredRights,
        action: Option<&'static str>,
        methods: MethodRouter<Arc<AppState>>,
    ) -> Self {
        let route = self.new_route(path, rights, action);
        let methods = methods.route_layer(from_fn_with_state(route, check_and_run));
        self.router = self.router.route(path, methods);
        self
    }

    fn new_route(
        &self,
        path: &'static str,
        rights: RequiredRights,
        action: Option<&'static str>,
    ) -> Route {
        let (app, without_account) = (Arc::clone(&self.app), self.without_account);
        Route { app, without_account, rights, path, action }
    }

    pub(crate) fn into_router(self) -> Router<Arc<AppState>> {
        self.router
    }
}

/// Runs a request if its account may use the route and may see its connection, and if no page of
/// another site can have sent the request. Records changes and refusals in the audit log.
async fn check_and_run(State(route): State<Route>, request: Request, next: Next) -> Response {
    let Some(account) = request.extensions().get::<Account>().cloned() else {
        return match route.without_account {
            WithoutAccount::Problem => Problem::unauthorized().into_response(),
            WithoutAccount::RedirectToSignIn => session::redirect_to_sign_in(&request),
        };
    };
    let (caller, path) = (Caller::signed_in(&account, &request), request.uri().path().to_owned());
    let change = route.action.filter(|_| is_change(request.method()));
    let AdmittedRequest { mut request, object } = match route.admit(&account, request).await {
        Ok(admitted) => admitted,
        Err(problem) => {
            let attempt = (change.unwrap_or(audit::READ_ACTION), Some(path));
            audit::record_refusal(&route.app, caller, attempt, problem.code()).await;
            return problem.into_response();
        }
    };
    request.extensions_mut().insert(caller.clone());
    match change {
        Some(action) => {
            let change = (action, object.as_deref());
            audit::run(&route.app, &account, &caller, change, request, next).await
        }
        None => next.run(request).await,
    }
}

fn is_change(method: &Method) -> bool {
    method != Method::GET && method != Method::HEAD
}

impl Route {
    /// Checks whether the account may send the request, and whether another site may have sent it.
    async fn admit(&self, account: &Account, request: Request) -> Result<AdmittedRequest, Problem> {
        self.rights.check(account)?;
        let (mut parts, body) = request.into_parts();
        let object = self.find_visible_object(account, &mut parts).await?;
        let session = parts.extensions.get::<Session>().cloned();
        let Some(session) = session.filter(|_| is_change(&parts.method)) else {
            return Ok(AdmittedRequest { request: Request::from_parts(parts, body), object });
        };
        same_site::check_origin(&self.app.services.config.current(), &parts.headers, &parts.uri)?;
        let token = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
        if token.is_some_and(|token| session.is_csrf_token(token)) {
            return Ok(AdmittedRequest { request: Request::from_parts(parts, body), object });
        }
        let (token, body) = read_csrf_field(&parts.headers, body).await;
        if !token.is_some_and(|token| session.is_csrf_token(&token)) {
            return Err(Problem::cross_site_request());
        }
        Ok(AdmittedRequest { request: Request::from_parts(parts, body), object })
    }

    /// Returns the name or id of the object in the path, if there is one. For a connection, event
    /// or defect that the account may not see, the refusal is the same as if it did not exist.
    async fn find_visible_object(
        &self,
        account: &Account,
        parts: &mut Parts,
    ) -> Result<Option<String>, Problem> {
        let Ok(params) = RawPathParams::from_request_parts(parts, &()).await else {
            return Ok(None);
        };
        let Some(id) = params.iter().next().map(|(_, id)| id.to_owned()) else { return Ok(None) };
        if !self.path.starts_with("/connections/{id}") {
            self.check_visible(account, &id).await?;
            return Ok(Some(id));
        }
        match self.app.services.connections.find(&id) {
            Some(found) if account.sees(found.connection.id) => Ok(Some(found.connection.name)),
            // No connection has this name or id, so the handler will answer 404. An account that is
            // limited to some connections is refused here: if a connection with this name is
            // created before the handler runs, the handler would show it.
            None if account.connections.is_none() => Ok(Some(id)),
            Some(_) | None => Err(Problem::no_such("connection", &id)),
        }
    }
}

impl Route {
    /// Refuses a request for an event or a defect of a connection that the account may not see.
    async fn check_visible(&self, account: &Account, id: &str) -> Result<(), Problem> {
        if account.connections.is_none() {
            return Ok(());
        }
        if self.path.starts_with("/defects/{id}") {
            defects::find_visible_defect(&self.app, account, id).await?;
        } else if ["/events/{id}", "/unrecognised/{id}"]
            .iter()
            .any(|route| self.path.starts_with(route))
        {
            events::find_visible_event(&self.app, account, id).await?;
        }
        Ok(())
    }
}

/// Reads the field `csrf` of a form, and also returns the complete body. In a multipart form,
/// `csrf` must be the first field, because only the first bytes of such a form are read: it may
/// contain a large file.
async fn read_csrf_field(headers: &header::HeaderMap, body: Body) -> (Option<String>, Body) {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.is_some_and(|media_type| media_type.starts_with("multipart/form-data")) {
        let (first_bytes, body) = read_first_bytes(body).await;
        let first_bytes = String::from_utf8_lossy(&first_bytes);
        let value = first_bytes
            .split_once("name=\"csrf\"\r\n\r\n")
            .and_then(|(_, value)| value.split_once("\r\n").map(|(value, _)| value.to_owned()));
        return (value, body);
    }
    let read = timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let bytes = read.ok().and_then(Result::ok).unwrap_or_default();
    let mut fields = url::form_urlencoded::parse(&bytes);
    let value = fields.find(|(name, _)| name == "csrf").map(|(_, value)| value.into_owned());
    (value, Body::from(bytes))
}

/// Reads the first bytes of a body, and also returns the complete body.
async fn read_first_bytes(mut body: Body) -> (Bytes, Body) {
    let (mut first, deadline) = (BytesMut::new(), Instant::now() + FIRST_FIELD_TIMEOUT);
    while first.len() < FIRST_FIELD_BYTES_MAX {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => first.extend_from_slice(&frame.into_data().unwrap_or_default()),
            _ => break,
        }
    }
    let first = first.freeze();
    let whole = stream::iter([Ok(first.clone())]).chain(body.into_data_stream());
    (first, Body::from_stream(whole))
}
