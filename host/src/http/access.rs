//! Routes that need an account: each one states the least role that may use it, and cannot be
//! declared without it.
//!
//! Also refuses changes that another site may have sent with a session's cookie, and has every
//! change and every refusal recorded. `auth` identifies the account.

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
use tokio::time::timeout;

use crate::domain::{Account, Role};

use super::admin::BODY_BYTES_MAX;
use super::admin::{defects, events};
use super::audit::Caller;
use super::problem::Problem;
use super::session::{self, Session};
use super::{AppState, audit, same_site};

/// The part of a multipart form that has its first field.
const FIRST_FIELD_BYTES: usize = 1_024;
/// How long a part of it may take to arrive.
const FIRST_FIELD_TIMEOUT: Duration = Duration::from_secs(30);

/// What an account needs for a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    role: Role,
    /// Whether the route concerns more than one connection, so that an account that is limited to
    /// some connections may not use it.
    whole_server: bool,
}

// What each role may do: `Role::summary`.
pub(crate) const VIEWER: Access = Access::of(Role::Viewer);
pub(crate) const OPERATOR: Access = Access::of(Role::Operator);
pub(crate) const AUTHOR: Access = Access::of(Role::Author);
pub(crate) const ADMIN: Access = Access::of(Role::Admin);

impl Access {
    const fn of(role: Role) -> Self {
        Self { role, whole_server: false }
    }

    /// Refuses accounts that are limited to some connections.
    pub(crate) const fn of_whole_server(self) -> Self {
        Self { whole_server: true, ..self }
    }

    fn check(self, account: &Account) -> Result<(), Problem> {
        let Self { role, whole_server } = self;
        if !account.may(role) {
            let own = account.role;
            let why = format!("this needs the role {role} or a higher one; the account has {own}");
            return Err(Problem::role_too_low(why));
        }
        if whole_server && account.connections.is_some() {
            let why = format!(
                "this needs the role {role} for all connections; the account is limited to some"
            );
            return Err(Problem::role_too_low(why));
        }
        Ok(())
    }
}

/// What an account that is not signed in gets.
#[derive(Debug, Clone, Copy)]
enum SignedOut {
    /// A problem. The outer layer has answered it already.
    Problem,
    /// The page to sign in.
    SignInPage,
}

/// Routes with their least roles.
pub(crate) struct Routes {
    app: Arc<AppState>,
    signed_out: SignedOut,
    router: Router<Arc<AppState>>,
}

/// A route of [`Routes`].
#[derive(Clone)]
struct Route {
    app: Arc<AppState>,
    signed_out: SignedOut,
    access: Access,
    path: &'static str,
    /// What the audit log calls it; absent: it changes nothing.
    action: Option<&'static str>,
}

/// A request that may pass, and the name or id in its path.
struct Admitted {
    request: Request,
    object: Option<String>,
}

macro_rules! changing_methods {
    ($($name:ident)+) => {$(
        /// Adds a route for this method. `action` is what the audit log calls it.
        pub(crate) fn $name<H, T>(
            self,
            path: &'static str,
            access: Access,
            action: &'static str,
            handler: H,
        ) -> Self
        where
            H: Handler<T, Arc<AppState>>,
            T: 'static,
        {
            self.add(path, access, Some(action), $name(handler))
        }
    )+};
}

impl Routes {
    /// Routes of the admin API.
    pub(crate) fn of_api(app: &Arc<AppState>) -> Self {
        Self { app: Arc::clone(app), signed_out: SignedOut::Problem, router: Router::new() }
    }

    /// Routes of pages. Who is not signed in is sent to the page that does it.
    pub(crate) fn of_pages(app: &Arc<AppState>) -> Self {
        Self { app: Arc::clone(app), signed_out: SignedOut::SignInPage, router: Router::new() }
    }

    /// Adds a route for GET.
    pub(crate) fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.add(path, access, None, get(handler))
    }

    /// Adds a route for POST that changes nothing: the request has too much for a query.
    pub(crate) fn ask<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        self.add(path, access, None, post(handler))
    }

    changing_methods!(post put patch delete);

    /// Adds a route for every method. `action` is what the audit log calls a change.
    pub(crate) fn any<H, T>(
        mut self,
        path: &'static str,
        access: Access,
        action: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<AppState>>,
        T: 'static,
    {
        let route = self.guarded(path, access, Some(action));
        self.router = self.router.route(path, any(handler).layer(from_fn_with_state(route, guard)));
        self
    }

    fn add(
        mut self,
        path: &'static str,
        access: Access,
        action: Option<&'static str>,
        methods: MethodRouter<Arc<AppState>>,
    ) -> Self {
        let route = self.guarded(path, access, action);
        let methods = methods.route_layer(from_fn_with_state(route, guard));
        self.router = self.router.route(path, methods);
        self
    }

    fn guarded(&self, path: &'static str, access: Access, action: Option<&'static str>) -> Route {
        let (app, signed_out) = (Arc::clone(&self.app), self.signed_out);
        Route { app, signed_out, access, path, action }
    }

    /// The routes for the server's router.
    pub(crate) fn into_router(self) -> Router<Arc<AppState>> {
        self.router
    }
}

/// Lets a request pass if its account may use the route and sees its connection, and if no other
/// site can have sent it. Records a change in the audit log.
async fn guard(State(route): State<Route>, request: Request, next: Next) -> Response {
    let Some(account) = request.extensions().get::<Account>().cloned() else {
        return match route.signed_out {
            SignedOut::Problem => Problem::unauthorized().into_response(),
            SignedOut::SignInPage => session::to_sign_in(&request),
        };
    };
    let (caller, path) = (Caller::of(&account, &request), request.uri().path().to_owned());
    let Admitted { mut request, object } = match route.admit(&account, request).await {
        Ok(admitted) => admitted,
        Err(problem) => {
            let attempt = (route.action.unwrap_or(audit::READ), Some(path));
            audit::refused(&route.app, caller, attempt, problem.code()).await;
            return problem.into_response();
        }
    };
    request.extensions_mut().insert(caller.clone());
    match route.action.filter(|_| is_change(request.method())) {
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
    async fn admit(&self, account: &Account, request: Request) -> Result<Admitted, Problem> {
        self.access.check(account)?;
        let (mut parts, body) = request.into_parts();
        let object = self.object(account, &mut parts).await?;
        let session = parts.extensions.get::<Session>().cloned();
        let Some(session) = session.filter(|_| is_change(&parts.method)) else {
            return Ok(Admitted { request: Request::from_parts(parts, body), object });
        };
        same_site::check_origin(&self.app.services.config.now(), &parts.headers, &parts.uri)?;
        let given = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
        if given.is_some_and(|given| session.is_csrf(given)) {
            return Ok(Admitted { request: Request::from_parts(parts, body), object });
        }
        let (given, body) = csrf_field(&parts.headers, body).await;
        if !given.is_some_and(|given| session.is_csrf(&given)) {
            return Err(Problem::cross_site_request());
        }
        Ok(Admitted { request: Request::from_parts(parts, body), object })
    }

    /// The name or id in the path. A connection, event or defect that the account does not see is
    /// refused as one that does not exist.
    async fn object(
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
            // The handler answers 404. A limited account is refused here already: a connection of
            // this name may be created before the handler runs.
            None if account.connections.is_none() => Ok(Some(id)),
            Some(_) | None => Err(Problem::no_such("connection", &id)),
        }
    }
}

impl Route {
    /// Refuses an event or a defect of a connection that a limited account does not see, before the
    /// body is read.
    async fn check_visible(&self, account: &Account, id: &str) -> Result<(), Problem> {
        if account.connections.is_none() {
            return Ok(());
        }
        if self.path.starts_with("/defects/{id}") {
            defects::record(&self.app, account, id).await?;
        } else if ["/events/{id}", "/unrecognised/{id}"].iter().any(|it| self.path.starts_with(it))
        {
            events::read(&self.app, account, id).await?;
        }
        Ok(())
    }
}

/// The field `csrf` of a form, and the form as it was: a URL-encoded one, or a multipart one, whose
/// first field it is. A multipart form may have a large file, so only its beginning is read.
async fn csrf_field(headers: &header::HeaderMap, body: Body) -> (Option<String>, Body) {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        let (first, body) = beginning(body).await;
        let first = String::from_utf8_lossy(&first);
        let value = first
            .split_once("name=\"csrf\"\r\n\r\n")
            .and_then(|(_, value)| value.split_once("\r\n").map(|(value, _)| value.to_owned()));
        return (value, body);
    }
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let mut fields = url::form_urlencoded::parse(&bytes);
    let value = fields.find(|(name, _)| name == "csrf").map(|(_, value)| value.into_owned());
    (value, Body::from(bytes))
}

/// The beginning of a body, and the whole body.
async fn beginning(mut body: Body) -> (Bytes, Body) {
    let mut first = BytesMut::new();
    while first.len() < FIRST_FIELD_BYTES {
        match timeout(FIRST_FIELD_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => first.extend_from_slice(&frame.into_data().unwrap_or_default()),
            _ => break,
        }
    }
    let first = first.freeze();
    let whole = stream::iter([Ok(first.clone())]).chain(body.into_data_stream());
    (first, Body::from_stream(whole))
}
