//! Checks step by step what a connection can read from Test Manager, for `connections try`.
//!
//! A try uses new HTTP connections and a new token, and first removes the stored projects of the
//! connection, because earlier results could hide an error. It shares the rate limit with the other
//! requests of the connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::domain::{
    FailedTest, Limits, Origin, StringEnum as _, TestManagerSettings, TryStep, TryStepResult,
    printable,
};
use crate::egress::ActiveConnection;
use crate::report::{AttachmentKind, Subject, TestData, TestDataSource as _};

use super::TestManager;
use super::client::Client;
use super::failure::Failure;
use super::json::{find_member, list_items, number_member, text_member};
use super::project;
use super::shared::FetchContext;
use super::source::TestSource;

/// Maximum time of all steps together, without the first steps, which test the network connections.
const TRY_TIME_MAX: Duration = Duration::from_secs(20);
/// Maximum size of the screenshot that is downloaded, bytes.
const SCREENSHOT_BYTES_MAX: u64 = 8 << 20;

/// The result of one step of a try. A successful step may return a remark for people.
type StepResult = Result<Option<String>, Failure>;

impl TestManager {
    /// Runs the steps of a try in order, up to and including the first step that fails. Returns no
    /// steps if the connection has no usable settings for Test Manager. If a failed test is given,
    /// the last step reads all data of the test.
    pub async fn try_steps(
        &self,
        active: &Arc<ActiveConnection>,
        test: Option<&FailedTest>,
        limits: &Limits,
    ) -> Vec<TryStepResult> {
        let Some(context) = self.new_fetch_context_for_try(active, limits) else {
            return Vec::new();
        };
        let mut steps = self.probe(&context).await;
        if steps.iter().any(|step| step.error.is_some()) {
            return steps;
        }
        let deadline = Instant::now() + TRY_TIME_MAX;
        let mut add_step = |step, result: StepResult| {
            let is_ok = result.is_ok();
            let (error, note) = match result {
                Ok(note) => (None, note),
                Err(failure) => (Some(failure.why().to_owned()), None),
            };
            steps.push(TryStepResult { error, note, ..TryStepResult::of(step) });
            is_ok
        };
        let client = match context.client(deadline) {
            Ok(client) => client,
            Err(failure) => {
                add_step(TryStep::Token, Err(failure));
                return steps;
            }
        };
        match client.ensure_token().await {
            Err(failure @ Failure::Scope(_)) => {
                add_step(TryStep::Token, Ok(None));
                add_step(TryStep::Scope, Err(failure));
                return steps;
            }
            token => {
                if !add_step(TryStep::Token, token.map(|()| None)) {
                    return steps;
                }
            }
        }
        add_step(TryStep::Scope, Ok(Some(context.settings.scopes.join(" "))));
        if add_step(TryStep::TestManagerProject, try_project(&client, test).await)
            && let Some(test) = test
        {
            add_step(TryStep::TestManagerLog, try_log(&context, test, deadline).await);
        }
        steps
    }

    /// Creates a context without stored tokens, and removes the stored projects of the connection.
    fn new_fetch_context_for_try(
        &self,
        active: &Arc<ActiveConnection>,
        limits: &Limits,
    ) -> Option<Arc<FetchContext>> {
        let test_manager = active.test_manager()?;
        let settings = active.connection.test_manager.clone()?;
        let without_tokens = Arc::new(test_manager.without_tokens());
        let state = self.state(test_manager);
        state.forget_projects();
        let pinned_project = active.connection.project.clone();
        let deps = Arc::clone(&self.deps);
        Some(Arc::new(FetchContext::new(
            deps,
            without_tokens,
            settings,
            pinned_project,
            state,
            *limits,
        )))
    }

    /// Tests the network connections to Test Manager and to its identity server.
    async fn probe(&self, context: &FetchContext) -> Vec<TryStepResult> {
        let mut steps = Vec::new();
        for origin in origins_of(&context.settings) {
            steps.extend(self.deps.egress.probe(context.active(), &origin).await);
            if steps.last().is_some_and(|step: &TryStepResult| step.error.is_some()) {
                break;
            }
        }
        steps
    }
}

fn origins_of(settings: &TestManagerSettings) -> Vec<Origin> {
    let urls = [&settings.base_url, &settings.token_url];
    let mut origins: Vec<_> = urls.into_iter().filter_map(|url| Origin::of(url).ok()).collect();
    origins.dedup();
    origins
}

/// Reads the project. If the project is not known, because no failed test is given, requests the
/// list of projects.
async fn try_project(client: &Client, test: Option<&FailedTest>) -> StepResult {
    let found = match project::identify(client, test).await {
        Err(Failure::Project(_)) if test.is_none() => return try_any_project(client).await,
        found => project::fetch_details(client, found?).await?,
    };
    let names = [text_member(&found, &["projectPrefix", "prefix"]), text_member(&found, &["name"])];
    let names: Vec<_> = names.into_iter().flatten().collect();
    Ok(Some(printable(&names.join(", "))).filter(|names| !names.is_empty()))
}

/// Checks that the client may read at least one project.
async fn try_any_project(client: &Client) -> StepResult {
    let answer = client.get(&["projects"], &[("top", "1"), ("skip", "0")]).await?;
    let paging = find_member(&answer, &["paging"]).unwrap_or(&answer);
    let count = number_member(paging, &["total", "totalItems"]);
    let count = count.or_else(|| list_items(&answer).map(|items| items.len() as u64));
    match count {
        Some(0) | None => Err(Failure::Other(
            "Test Manager shows no project to this client; give it a role in the project"
                .to_owned(),
        )),
        Some(count) => Ok(Some(format!(
            "projects that can be read: {count}; the project of a failed test is found by the link \
             to its log; if the link does not contain it, set --test-manager-project"
        ))),
    }
}

/// Reads all parts of a failed test, and downloads a screenshot, if there is one. Fails only if the
/// log cannot be read.
async fn try_log(context: &Arc<FetchContext>, test: &FailedTest, deadline: Instant) -> StepResult {
    let source = TestSource::new(Arc::clone(context), test.clone());
    let subjects: BTreeSet<_> = Subject::ALL.iter().copied().collect();
    let mut data = source.fetch(&subjects, deadline).await;
    let screenshot = data.attachments.iter().find(|file| file.kind == AttachmentKind::Screenshot);
    if let Some(screenshot) = screenshot {
        // The screenshot may be on another origin, and its download shows whether the connection
        // permits that origin.
        let downloaded = source.download(screenshot, SCREENSHOT_BYTES_MAX, deadline).await;
        data.gaps.extend(downloaded.err().map(|error| error.gap));
    }
    let log = source.parts().get_or_fetch(&context.client(deadline)?, Subject::TestCaseLog).await?;
    Ok(Some(describe_data(&data, &log.value)))
}

fn describe_data(data: &TestData, log: &Value) -> String {
    let result = text_member(log, &["result"]).unwrap_or_else(|| "no result".to_owned());
    let count =
        |count: usize, thing| format!("{count} {thing}{}", if count == 1 { "" } else { "s" });
    let counts = format!(
        "{}, with {}, {} and {}",
        printable(&result),
        count(data.assertions.len(), "assertion"),
        count(data.robot_logs.len(), "robot log line"),
        count(data.attachments.len(), "file")
    );
    let gaps = data.gaps.iter().map(|gap| format!("; {}: {}", gap.what, gap.why));
    format!("{counts}{}", gaps.collect::<String>())
}
