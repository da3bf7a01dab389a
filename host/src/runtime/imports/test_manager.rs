//! Implements `jackfield:connector/test-manager`: returns data of Test Manager about the failed
//! test, as JSON.
//!
//! The guest gets `null` outside `create`, `comment` and `attach`, and if the connection does not
//! read from Test Manager. Secrets in the data are masked before the guest gets it.

use crate::domain::StringEnum;
use crate::report::Subject;
use crate::runtime::bindings::{import_error, model, test_manager};
use crate::runtime::guest::Guest;

impl test_manager::Host for Guest {
    async fn get(&mut self, subject: String) -> wasmtime::Result<Result<String, model::Error>> {
        let Some(parsed) = Subject::parse(&subject) else {
            let subjects =
                Subject::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", ");
            let why = format!("there is no subject {subject:?}; the subjects are {subjects}");
            return Ok(Err(import_error(model::ErrorCode::Unsupported, why)));
        };
        let json = match self.report() {
            Some(report) => report.subject_json(parsed).await,
            None => Ok(None),
        };
        let json = match json {
            Ok(json) => json.unwrap_or_else(|| "null".to_owned()),
            Err(gap) => {
                let why = format!("{}: {}", gap.what, gap.why);
                return Ok(Err(import_error(model::ErrorCode::Unavailable, why)));
            }
        };
        match self.requests.memory().charge(json.len() as u64) {
            Ok(charge) => self.returned_charge = Some(charge),
            Err(full) => {
                return Ok(Err(import_error(model::ErrorCode::Internal, full.to_string())));
            }
        }
        Ok(Ok(self.redact_for_guest(json)))
    }
}
