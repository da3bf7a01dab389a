//! A guest whose `create` returns an error after the write. `find`, `count` and `check` try to
//! write, which the host denies.

use jackfield_test_guests::*;

struct WriteInFind;

fn try_to_write() -> Error {
    match send(Method::Post, "/denied-write", Some("{}")) {
        Ok(answer) => error(ErrorCode::Internal, format!("the write was sent: {}", answer.status)),
        Err(why) => error(ErrorCode::Internal, format!("{why:?}")),
    }
}

impl Behaviour for WriteInFind {
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

guest!(WriteInFind);
