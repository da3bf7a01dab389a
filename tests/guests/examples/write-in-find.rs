//! A guest whose `create` returns an error after the write. `find`, `count` and `check` also try to
//! send a write, but the host denies it.

use jackfield_test_guests::*;

struct TriesToWriteInFind;

/// Tries to send a write. Returns an error that contains the result.
fn try_to_write() -> Error {
    match send(Method::Post, "/denied-write", Some("{}")) {
        Ok(answer) => error(ErrorCode::Internal, format!("the write was sent: {}", answer.status)),
        Err(why) => error(ErrorCode::Internal, format!("{why:?}")),
    }
}

impl Behaviour for TriesToWriteInFind {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let _ = send(Method::Post, "/issues.json", Some(&marker));
        Err(error(ErrorCode::Internal, "failed after the write".to_owned()))
    }
    fn find(_marker: String) -> Result<Vec<Defect>, Error> {
        Err(try_to_write())
    }
    fn count(_project: String) -> Result<Counts, Error> {
        Err(try_to_write())
    }
    fn check() -> Result<String, Error> {
        Err(try_to_write())
    }
}

guest!(TriesToWriteInFind);
